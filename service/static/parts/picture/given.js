// Files that somebody drops or pastes. Knows no document but for what is open over it.

const PICTURE = /\.(jpe?g|png|webp|gif|bmp|tiff?|heic|heif|avif|jp2|ico|dng|cr2|cr3|nef|arw|raf|orf|rw2)$/i;

export const isPicture = (file) => file.type.startsWith("image/") || PICTURE.test(file.name);

// Whether files are dragged, and no words from one field into another.
export const hasFiles = ({ dataTransfer }) => Boolean(dataTransfer?.types.includes("Files"));

// All files of a drop, those inside of folders too. To be called at once: the browser forgets what was dropped.
export function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.length ? Promise.all(entries.map(walk)).then((found) => found.flat()) : Promise.resolve([...transfer.files]);
}

// Those of a paste: none where it has words for a field, as a spreadsheet gives both, nor over what is open.
export function pasted({ target, clipboardData }) {
  const isWritten = target.closest?.("input, textarea") && clipboardData?.getData("text/plain");
  return isWritten || document.querySelector("dialog[open]") ? [] : [...(clipboardData?.files ?? [])];
}

// One that cannot be read is given without its bytes, so that it is named among those that failed.
async function walk(entry) {
  if (entry.isFile) return [await new Promise((resolve) => entry.file(resolve, () => resolve(new File([], entry.name))))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve(null))); // a hundred at most
    if (!some) return [...found, new File([], entry.name, { type: "image/*" })];
    if (!some.length) return found;
    for (const one of some) found.push(...(await walk(one)));
  }
}
