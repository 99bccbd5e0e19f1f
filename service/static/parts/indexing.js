// Having a folder of the server indexed.

import { find, make } from "./naming.js";

// Into the collection of that name or title. One that was made for it goes again if the service refuses the folder; with
// no answer of its own the job may have begun.
export async function index(app, text, folder) {
  app.say("");
  let wanted = await find(app, text);
  const isTitled = wanted.title !== null; // else the job makes it
  if (isTitled) wanted = await make(app, text);
  try {
    await app.jobs.ask({ kind: "index", collection: wanted.name, folders: [folder] });
  } catch (error) {
    if (isTitled && wanted.isNew && error.code) await app.api.delete(app.api.of(wanted.name)).catch(() => {});
    throw error;
  }
}
