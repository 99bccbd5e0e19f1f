// The REST API as the views ask it: JSON in and out, errors with their code. Paths are relative to the page, which may
// lie below the prefix of a proxy. Asking for the key is key.js's.

import { givenKey, request } from "./key.js";
import { pause } from "./parts/dom.js";

const AGAIN = new Set([409, 429, 503]); // with Retry-After: what was refused so was not begun
const SOON = 3000; // ms until a picture is asked for again; doubled each time
const PATIENCE = 60_000; // ms for which it is asked again
const UNANSWERED = "The service does not answer. Is it still running?";
const PASSES = new Set([0, 429, 502, 504]); // as a service answers that is gone for a while, or its proxy

// What the service refused, or that it does not answer: `status` is 0 then. `after`: seconds after which it may be
// asked again; null: it does not say.
export class ApiError extends Error {
  constructor(message, { status = 0, code = null, param = null, after = null } = {}) {
    super(message);
    Object.assign(this, { status, code, param, after });
  }

  // Whether it may be well again in a while, with nothing done. A 503 of the service's own that names no time does not
  // mend itself: a model is damaged.
  get passes() {
    return PASSES.has(this.status) || (this.status === 503 && Boolean(this.after || !this.code));
  }

  // Whether the same would be refused again. Who gives a key is not refused for lack of it.
  get final() {
    return !this.passes && !this.after && this.status !== 500 && !this.lacksKey;
  }

  get lacksKey() {
    return this.status === 401;
  }
}

// A module that is imported late, or an ApiError.
export const loaded = (importing) =>
  importing.catch(() => {
    throw new ApiError(UNANSWERED);
  });

// One that is busy and says for how long is asked again, which the window is told of by the event "wait"; but for who is
// not `patient`.
async function answered(path, { patient = true, ...options } = {}) {
  const end = performance.now() + PATIENCE;
  for (;;) {
    try {
      return await once(path, options);
    } catch (error) {
      if (!patient || !error.after || !AGAIN.has(error.status) || performance.now() + error.after * 1000 > end) throw error;
      dispatchEvent(new Event("wait"));
      await pause(error.after * 1000, options.signal);
    }
  }
}

async function once(path, options) {
  let response;
  try {
    response = await request(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(UNANSWERED);
  }
  if (response.ok) return response;
  const { status } = response;
  const { error = null } = (await response.json().catch(() => null)) ?? {};
  const after = Number(response.headers.get("Retry-After")) || null;
  const message = !error && PASSES.has(status) ? UNANSWERED : await inWords(error, status);
  throw new ApiError(message, { ...error, status, after });
}

// What an error of the service says to who sits at the page.
const inWords = (error, status) => import("./refusals.js").then(({ told }) => told(error, status), () => error?.message ?? UNANSWERED);

// The body of an answer, of which a part may be all that comes, or that is another's: a page to sign in.
const whole = (response, kind) => response[kind]().catch((error) => {
  throw error.name === "AbortError" ? error : new ApiError(UNANSWERED);
});

async function json(method, path, body, { headers, ...more } = {}) {
  const options = { method, headers, ...more };
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json", ...headers };
  }
  const response = await answered(path, options);
  return response.status === 204 ? null : whole(response, "json");
}

export const api = {
  get: (path, options) => json("GET", path, undefined, options),
  post: (path, body, options) => json("POST", path, body, options),
  put: (path, body, options) => json("PUT", path, body, options),
  patch: (path, body, options) => json("PATCH", path, body, options),
  delete: (path, options) => json("DELETE", path, undefined, options),

  // {headers, body}, as body is of that `kind`: "json", "blob", "arrayBuffer"
  async raw(path, kind, options) {
    const response = await answered(path, options);
    return { headers: response.headers, body: await whole(response, kind) };
  },

  inWords,

  // The path of something of a collection: of("photos", "images", 12) is v1/collections/photos/images/12
  of: (collection, ...rest) => ["v1", "collections", collection, ...rest].map(encodeURIComponent).join("/"),

  // Whether there is a key to be sent.
  keyed: () => Boolean(givenKey()),

  // What an <img> or a download can load, which send no key themselves; a blob: of it is the caller's to revoke.
  async source(url, { signal } = {}) {
    if (!givenKey() || url.startsWith("blob:")) return url;
    return URL.createObjectURL((await api.raw(url, "blob", { signal })).body);
  },

  // Whether what an image could not show may be there in a while: it does not say itself why there is nothing.
  comes: (url) => answered(url, { method: "HEAD", patient: false }).then(() => false, (error) => Boolean(error.passes)),

  // Have an <img> show what lies there, once it is to be had: resolves when it shows it, or something else by then.
  async show(image, url, { signal } = {}) {
    for (let wait = SOON; ; wait *= 2) {
      try {
        return await put(image, url, signal);
      } catch (error) {
        if (!error.passes || wait > PATIENCE) throw error;
      }
      await pause(wait, signal);
      if (!image.isConnected) return;
    }
  },
};

// What was fetched with a key is let go of as soon as the image has it.
async function put(image, url, signal) {
  const source = await api.source(url, { signal });
  const letGo = () => source !== url && URL.revokeObjectURL(source);
  if (signal?.aborted) letGo();
  signal?.throwIfAborted();
  if (source !== url) image.loading = "eager"; // it is here already
  const shown = () => new Promise((resolve) => {
    const heard = new AbortController(); // neither is listened for once one has come: an image shows many in its time
    for (const event of ["load", "error"]) {
      image.addEventListener(event, () => {
        heard.abort();
        resolve(event === "load");
      }, { signal: heard.signal });
    }
    image.src = source;
  });
  const isShown = await shown();
  letGo();
  if (isShown || image.getAttribute("src") !== source) return;
  await answered(url, { signal, patient: false }); // an image does not say why there is none
  if (!(await shown()) && image.getAttribute("src") === source) throw new ApiError("This is no picture that a browser shows");
}
