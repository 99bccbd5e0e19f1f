// What is done where a file of a page itself does not come: a style is asked for once more, a script is told of. A
// browser gives up on single files of a site whose certificate it does not know, and a proxy has bad moments. No module,
// as it runs before the scripts that stand behind it; what is loaded later is told of by who waits for it.

const OWN = 'script[src="static/unloaded.js"]';

const tell = () => {
  const told = document.createElement("section");
  told.className = "empty";
  told.innerHTML = '<h1>A part of the page did not load</h1><p>The service did not answer for it.</p><button type="button" class="button main">Try again</button>';
  told.querySelector("button").onclick = () => location.reload();
  document.querySelector("main").replaceChildren(told);
};
for (const script of document.querySelectorAll(`${OWN} ~ script`)) script.addEventListener("error", tell); // or what it needs

function came({ sheet }) {
  try {
    return sheet.cssRules.length > 0;
  } catch {
    return false;
  }
}

// The page's own have come or failed by now; printing's may be on its way, and views.js asks twice for those of views.
for (const link of document.querySelectorAll(`link[rel=stylesheet]:not([media]):has(~ ${OWN})`)) if (!came(link)) link.replaceWith(link.cloneNode()); // later rules outdo earlier
