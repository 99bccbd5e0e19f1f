// What is drawn again and again, as of a job or a run that goes on: what is as it was is left alone, so that what is
// focused, marked or scrolled there stays so, and a screen reader is told of nothing but news.

// Have an element hold these, and nothing else. What is there already stays, with what listens to it, and becomes as the
// new one is: of those with a `data-key` the one with the same, wherever it stands, else the one in its place.
export function renew(element, ...children) {
  const wanted = children.flat().filter((child) => child ?? false).map((child) => (child instanceof Node ? child : document.createTextNode(child)));
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const keys = new Set(wanted.map(keyOf));
  for (const old of [...element.childNodes]) if (keyOf(old) && !keys.has(keyOf(old))) old.remove();
  const keyed = new Map([...element.children].map((old) => [keyOf(old), old]));
  let at = element.firstChild;
  for (const next of wanted) {
    const key = keyOf(next);
    const old = key ? keyed.get(key) : at && !keyOf(at) && at.nodeName === next.nodeName ? at : null;
    if (old && old === at) at = at.nextSibling;
    else element.insertBefore(old ?? next, at);
    if (old) become(old, next);
  }
  while (at) {
    const after = at.nextSibling;
    at.remove();
    at = after;
  }
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true }); // it has moved
}

const keyOf = (node) => node.dataset?.key;

function become(old, next) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!next.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) === value) continue;
    if (name === "style") old.style.cssText = value; // which the page's policy lets no attribute set
    else old.setAttribute(name, value);
  }
  renew(old, ...next.childNodes);
}
