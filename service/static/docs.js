// Swagger UI over our own openapi.json; nothing from elsewhere (its validator badge would be). A key that the document
// was asked with is filled in at "Authorize", where it can be changed.
import { givenKey, request } from "./key.js";

const SCHEME = "key"; // as the document names it

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches); // Swagger UI's own name
dark.addEventListener("change", follow);
follow();

const response = await request("openapi.json").catch(() => ({ ok: false }));
const without = [401, 403].includes(response.status) ? "It needs a key." : "The service did not answer. Load the page again.";
const spec = (response.ok && (await response.json().catch(() => null))) // a part may be all that comes
  || { openapi: "3.1.0", info: { title: "glimpse", version: "", description: without }, paths: {} };
const below = new URL(".", location.href).pathname.replace(/\/$/, "");
if (below) spec.servers ??= [{ url: below }]; // a proxy took a prefix away, of which the service does not know

const ui = window.SwaggerUIBundle?.({ // unloaded.js tells where it did not come
  dom_id: "#docs", spec, deepLinking: true, validatorUrl: null,
  onComplete: () => givenKey() && ui.preauthorizeApiKey(SCHEME, givenKey()),
});
