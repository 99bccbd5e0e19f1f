// What a person writes as the name of a collection: any words. Where they are no name, which stands in addresses, they
// are the title, and the name is made of their letters. Knows no document.

// Of a field for such words: more than spaces.
export const NAMED = { required: true, maxlength: 120, pattern: ".*\\S.*", title: "Any words" };

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const ROOM = 48; // of a name that is made, with room for a number

// {name, title, isNew}: one of the collections, by its name or its title, however their letters are written, else one
// that is to be made; its title is null where the name says it all.
export function naming(text, collections) {
  const words = text.trim();
  const exactly = (one) => one;
  const anyhow = (one) => one?.toLowerCase();
  const by = (key, as) => collections.find((one) => as(one[key]) === as(words));
  const known = by("name", exactly) ?? by("title", exactly) ?? by("name", anyhow) ?? by("title", anyhow);
  if (known) return { name: known.name, title: known.title ?? null, isNew: false };
  if (NAME.test(words)) return { name: words, title: null, isNew: true };
  const taken = new Set(collections.map(({ name }) => name));
  const plain = words.normalize("NFKD").replace(/\p{M}/gu, "").replaceAll("ß", "ss").toLowerCase();
  const made = plain.replace(/[^a-z0-9]+/g, "-").slice(0, ROOM).replace(/^-|-$/g, "") || "collection";
  let name = made;
  for (let n = 2; taken.has(name); n++) name = `${made}-${n}`;
  return { name, title: words, isNew: true };
}

// The same among those that are there by now: others make some, too.
export const find = async (app, text) => naming(text, await app.reload());

// The same, made if it is new. Where somebody makes one of that name at that moment, theirs stays as it is.
export async function make(app, text) {
  for (let tries = 3; ; tries--) {
    const wanted = await find(app, text);
    if (!wanted.isNew) return wanted;
    try {
      await app.api.put(app.api.of(wanted.name), wanted.title === null ? undefined : { title: wanted.title }, { headers: { "If-None-Match": "*" } });
      return wanted;
    } catch (error) {
      if (error.status !== 412 || tries === 1) throw error;
    }
  }
}
