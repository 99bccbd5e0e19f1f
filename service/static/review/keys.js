// Going through a run by keys: one says what a picture is, and the next one is there.

export function listen(reviewing, ended) {
  const { root, app, labels } = reviewing;
  const take = (event, act) => {
    event.preventDefault();
    if (!app.info?.read_only) act();
  };
  addEventListener("keydown", (event) => {
    if (root.hidden || document.querySelector("dialog[open]") || event.altKey || event.metaKey) return;
    if (event.target.closest("input:not([type=range]), select, textarea")) return;
    if (event.ctrlKey) {
      if (event.key === "z") take(event, () => reviewing.undo());
      return;
    }
    const key = event.key.toLowerCase();
    if (key === "u" || key === "backspace") return take(event, () => reviewing.undo());
    if (!reviewing.current) return;
    if (key === "enter" || key === " ") {
      if (event.target.closest("button, a, summary")) return; // it is theirs
      take(event, () => reviewing.accept());
    } else if (key === "n") take(event, () => reviewing.say("none"));
    else if (key === "s") take(event, () => reviewing.say("skip"));
    else if (key === "/" && !labels.find.hidden) take(event, () => labels.find.focus());
    else if (/^[1-9]$/.test(key)) {
      const label = labels.at(key);
      if (label !== undefined) take(event, () => reviewing.choose(label));
    }
  }, { signal: ended });
}
