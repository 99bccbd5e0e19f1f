// The key of the service, if it needs one: asked for by a dialog once a request is refused, forgotten with this tab. One
// that is given is told of by the window's event "key".
// Paths are relative to the page, which may lie below the prefix of a proxy.

let key = sessionStorage.getItem("key");
let asking = null; // promise of the key that is being asked for
let declined = 0; // when that was last closed without one
let acted = 0; // when somebody last did something
for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, (event) => event.key === "Escape" || (acted = event.timeStamp), true);

export const givenKey = () => key;

export async function request(path, options = {}) {
  const sent = key;
  const headers = sent ? { ...options.headers, Authorization: `Bearer ${sent}` } : options.headers;
  const response = await fetch(path, { ...options, headers });
  if (response.status !== 401) return response;
  if (key === sent) {
    if (acted < declined) return response; // who wants to give none is not asked by each picture that comes into view
    asking ??= askForKey(sent).finally(() => (asking = null));
    if (!(await asking)) return response;
  }
  return request(path, options);
}

const DIALOG = `<form method="dialog">
  <h2 id="ask-title">This service needs a key</h2>
  <p class="bad">That key is not valid here.</p>
  <label for="key">Key</label>
  <input id="key" type="password" autocomplete="off" required>
  <p>It is kept until this tab is closed.</p>
  <div class="acts"><button value="use">Use it</button><button value="later" formnovalidate class="plain">Not now</button></div>
</form>`;

// Only who is asked needs it.
function style() {
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "static/style/key.css" });
  const loaded = new Promise((resolve) => (link.onload = link.onerror = resolve));
  document.head.append(link);
  return loaded;
}

let styled = null;

// Resolves to whether there is another key to try now.
async function askForKey(refused) {
  await (styled ??= style());
  const dialog = document.createElement("dialog");
  dialog.className = "ask";
  dialog.setAttribute("aria-labelledby", "ask-title");
  dialog.innerHTML = DIALOG;
  dialog.querySelector(".bad").hidden = !refused;
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" && dialog.querySelector("input").value.trim();
      if (given) sessionStorage.setItem("key", (key = given));
      if (!given) declined = performance.now();
      dialog.remove();
      resolve(Boolean(given));
      if (given) dispatchEvent(new Event("key"));
    });
  });
}
