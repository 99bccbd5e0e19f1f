// Swagger UI over our own openapi.json; nothing from elsewhere (its validator badge would be).
let key = sessionStorage.getItem("key"); // the one that was given to the search page in this tab

async function description() {
  for (;;) {
    const response = await fetch("/openapi.json", { headers: key ? { Authorization: `Bearer ${key}` } : {} });
    if (response.status !== 401) return response.json();
    key = prompt("This service needs a key");
    if (!key) return { openapi: "3.1.0", info: { title: "glimpse", version: "", description: "It needs a key." } };
    sessionStorage.setItem("key", key);
  }
}

function withKey(request) {
  if (key) request.headers.Authorization ??= `Bearer ${key}`;
  return request;
}

SwaggerUIBundle({
  dom_id: "#docs", spec: await description(), deepLinking: true, validatorUrl: null, requestInterceptor: withKey,
});
