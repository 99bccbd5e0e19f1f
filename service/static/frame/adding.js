// Pictures of this machine into a collection, and what is told of it meanwhile and in the end.

import { count } from "../parts/dom.js";
import { make } from "../parts/naming.js";
import { isPicture } from "../parts/picture/given.js";
import { upload } from "../parts/picture/upload.js";

// Into the collection of that name or title, which is made if there is none: see parts/naming.js.
export async function addAll(app, files, words) {
  if (!files.some(isPicture)) { // which no collection is made for
    app.say("There was no picture among these files.", { kind: "bad" });
    return;
  }
  let shownOnce = false;
  const { name, title } = await make(app, words);
  const report = await upload(app.api, name, files, {
    tell: ({ done, total }) => {
      app.say(`Adding pictures to ${title ?? name}: ${done.toLocaleString("en")} of ${total.toLocaleString("en")}…`, { kind: "busy" });
      if (done && !shownOnce) { // the first are there to be seen while the rest comes
        shownOnce = true;
        app.changed(name);
      }
    },
  });
  await app.changed(name);
  const said = [
    report.added && `${count(report.added, "picture")} added`,
    report.had && `${report.had.toLocaleString("en")} were there already`,
    report.other && `${count(report.other, "file")} left out: no picture`,
    report.failed.length && unread(report.failed),
  ].filter(Boolean);
  app.say(`${said.join(" · ")}.`, { kind: report.failed.length ? "bad" : "plain" });
}

const unread = ([{ name, error }, ...more]) =>
  more.length ? `${more.length + 1} files cannot be read, the first is ${name}: ${error}` : `${name} cannot be read: ${error}`;
