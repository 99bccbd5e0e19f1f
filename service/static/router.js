// The address bar: it holds what is shown, so that it can be kept, shared and undone. `v` is the view, `c` the
// collection, all else the view's own. Knows no view.

const listeners = new Set();

export const address = () => new URLSearchParams(location.search);

// A relative address like the present one but for these changes; null takes a key away, a list gives it several times.
export function href(changes, from = address()) {
  const next = new URLSearchParams(from);
  for (const [key, value] of Object.entries(changes)) {
    next.delete(key);
    for (const each of [value].flat()) if (each !== null && each !== undefined && each !== "") next.append(key, each);
  }
  // what browsers leave alone in a query is kept readable
  const query = String(next).replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%2C", ",");
  return `?${query}`;
}

// Go there: a step that Back undoes, or with `replace` none. `from` is what the changes are made to.
export function navigate(changes, { replace = false, from } = {}) {
  const next = href(changes, from);
  if (String(new URLSearchParams(next)) === String(address())) return;
  if (replace) history.replaceState(history.state, "", next);
  else push(next);
  tell();
}

// Each step knows the one before it, so that what was opened can be closed by going back: see cameFrom; and how far it
// was scrolled when it was left. What opens over it leaves it where it is.
function push(next) {
  if (String(new URLSearchParams(next)) === String(address())) return;
  if (!new URLSearchParams(next).has("open")) history.replaceState({ ...history.state, y: scrollY }, "");
  history.pushState({ from: String(address()) }, "", next);
}

// How far the page was scrolled when this step was left, in pixels, told once; null: it was not left, or not by a step.
export function leftAt() {
  const { y = null, ...state } = history.state ?? {};
  if (y !== null) history.replaceState(state, "");
  return y;
}

// Whether Back leads to this address, as far as the page knows.
export const cameFrom = (wanted) => history.state?.from === String(new URLSearchParams(wanted));

export function onNavigate(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const tell = () => listeners.forEach((listener) => listener(address()));

addEventListener("popstate", tell);

// Links within the page are steps of it; with a modifier they open as any link does.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='?']");
  const plain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  if (!link || !plain || event.defaultPrevented || link.target) return;
  event.preventDefault();
  push(link.getAttribute("href"));
  tell();
});
