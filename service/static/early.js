// What the first view is going to need, asked for while the modules of the page are still on their way: what the service
// has, the view, and the columns of a collection that is looked through.

import { api } from "./api.js";
import { fetched, wantedBy } from "./frame/views.js";
import { beginColumns } from "./parts/grid/columns.js";
import { address } from "./router.js";

const LOOKS = ["q", "not", "like", "img"]; // in an address that looks for something

export const info = api.get("v1/info", { patient: false });

const asked = address();
fetched(wantedBy(asked)).catch(() => {}); // who shows it tells if it cannot be had
const all = [null, "search", "map"].includes(asked.get("v")) && !LOOKS.some((key) => asked.has(key));
if (all && asked.get("c")) beginColumns(api, asked.get("c"));
info.then(({ collections }) => all && !asked.get("c") && collections.length && beginColumns(api, collections[0].name), () => {});
