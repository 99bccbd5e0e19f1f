// What the service refuses, in words for who sits at the page: what they can do about it. Its own words are for programs,
// and name fields, headers, flags and addresses; what is not here by its code it says in words for everybody. It is loaded
// once something is refused.

const BUSY = "Something else is at work there. Try again in a moment, or see in the library which jobs run";
const CHANGED = "Somebody has changed this meanwhile. Load the page again to see what it is now";
const GONE = "The file of this picture is no longer there, or is another by now: index its folder again";
const LOG = "Whoever runs the service finds the reason in its log";
const OTHER = "This page is older or newer than the service: load it again";
const SOON = "The service is busy. Try again in a moment";
const STORE = "The service cannot reach the place where it keeps its collections. Try again in a moment";

const SAID = {
  missing_key: "This service needs a key",
  invalid_key: "The key is not valid here, or no longer",
  insufficient_scope: "Your key may look at everything and change nothing: ask whoever runs the service for one that may",
  read_only: "This service changes nothing: whoever runs it has forbidden that",
  foreign_origin: "The service takes no changes from the address that this page has: ask whoever runs it to allow it",
  unknown_host: "The service does not answer to the address that this page has: ask whoever runs it to allow it",
  folder_refused: "The service may read no such folder. Write all of its path, from the / on, or ask whoever runs the service to allow it",
  invalid_signature: "This link is no longer good: load the page again",
  expired_signature: "This link is no longer good: load the page again",

  collection_not_found: "There is no such collection here, or no longer",
  entry_not_found: "This picture is no longer in the collection",
  image_not_found: "This picture is no longer in the run",
  job_not_found: "This job is forgotten already",
  label_run_not_found: "There is no such run here, or no longer",
  label_set_not_found: "There is no such label set here, or no longer",
  model_not_found: "The service does not have this model, or no longer",
  training_run_not_found: "There is no such training run here, or no longer",
  no_file: GONE,
  file_gone: GONE,
  file_changed: GONE,
  no_map: "There is no map of this collection yet: make one first",
  no_report: "This run has no report yet: it is written after an epoch",
  not_found: OTHER,
  method_not_allowed: OTHER,
  invalid_json: OTHER,
  invalid_form: OTHER,
  invalid_body: OTHER,

  collection_exists: "There is a collection of this name already: choose another name",
  label_set_exists: "There is a label set of this name already: replace it, or choose another name",
  collection_locked: BUSY,
  label_run_busy: BUSY,
  request_under_way: BUSY,
  changed_meanwhile: CHANGED,
  cursor_gone: CHANGED,
  job_ended: "This job has ended already",
  model_mismatch: "This was made with another model than the one that is here now: make it anew",
  no_model: "This run has no model yet that could be served: wait until it has",
  training_run_busy: "This run still trains: wait until it has ended",
  entries_left: "Pictures were added meanwhile that the new model has not read yet: start it again",

  too_large: "This is more than the service takes at once: choose smaller pictures, or fewer",
  too_slow: "It took too long to get there. Try again",
  quota_exceeded: "The collection may not hold more: delete pictures, or ask whoever runs the service for more room",
  empty_filter: "This filter asks for nothing: take it away",
  filter_too_slow: "This takes the service too long: take a filter away, or search in one folder",
  overloaded: SOON,
  rate_limited: SOON,
  busy: SOON,
  not_ready: "The service is starting. Try again in a moment",
  not_in_store: "Where this collection is kept there is no such thing: search it by words or by a picture, or ask whoever runs the service to move it",
  unsupported_media_type: "The service gives out no files of this kind: what is shown is a smaller picture of it",
  store_unavailable: STORE,
  disk_unavailable: STORE,
  disk_full: "The disk of the service is full: whoever runs it has to make room",
  internal_error: `The service has failed at this. ${LOG}`,
  job_damaged: "What was noted of this job cannot be read",
};

const FIELDS = { // by the first word of the field that is wrong, as who writes there knows it
  expected_title: "The title", filter: "A filter", folders: "The folder", label_set: "The label set", labels: "A label", metadata: "The label",
  add_tags: "The tag", remove_tags: "The tag", name: "The name", query: "What is looked for", templates: "A sentence", text: "What is looked for", title: "The title",
};

// By the status alone, of an answer that is not the service's own.
const FROM_OTHERS = { 401: "sign in again, and load the page anew", 403: "it lets this page ask for nothing there", 413: "it lets nothing through that is so large" };

// error: of the API's one shape; null: something else has answered, a proxy.
export function told(error, status) {
  if (!error) return `What stands before the service has answered in its place: ${FROM_OTHERS[status] ?? "try again in a moment"}`;
  const { code, param, message } = error;
  if (Object.hasOwn(SAID, code)) return SAID[code];
  const wrong = param && message.startsWith(`${param}: `) ? message.slice(param.length + 2) : null;
  if (wrong === null) return message.replace(/^query: /, "");
  return `${FIELDS[param.split(/[.[]/)[0]] ?? "Something that this page has asked"} ${wrong}`;
}
