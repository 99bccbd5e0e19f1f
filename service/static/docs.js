// Swagger UI over our own openapi.json; nothing from elsewhere (its validator badge would be). A key that the document
// was asked with is filled in at "Authorize", where it can be changed.
import { givenKey, request } from "./key.js";

const SCHEME = "key"; // as the document names it

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches); // Swagger UI's own name
dark.addEventListener("change", follow);
follow();

const response = await request("openapi.json");
const spec = response.ok
  ? await response.json()
  : { openapi: "3.1.0", info: { title: "glimpse", version: "", description: "It needs a key." }, paths: {} };
const below = new URL(".", location.href).pathname.replace(/\/$/, "");
if (below) spec.servers ??= [{ url: below }]; // a proxy took a prefix away, of which the service does not know

const ui = SwaggerUIBundle({
  dom_id: "#docs", spec, deepLinking: true, validatorUrl: null,
  onComplete: () => givenKey() && ui.preauthorizeApiKey(SCHEME, givenKey()),
});
