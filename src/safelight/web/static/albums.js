// Albums: where they are listed, and where pictures are put into one or taken out.
import { chosenBy, confirmed, doneNotice, pictures, sayOf, sayOfAll } from "./many.js";
import { $, ask, count, h, isOwner, notice, put } from "./page.js";

export const albumsOf = (row) => (row.album ?? "").split("; ").filter(Boolean);
export const albumFilter = (name) => `album = '${name.replaceAll("'", "''")}'`;

const listed = async () => (await ask("/api/albums")).albums;

/** Ask for an album, one that is there or a new one; resolves to its name, or null. */
async function askAlbum(title, { others = [], make = true, value = "" } = {}) {
  const field = h("input", {
    name: "name",
    value,
    maxlength: "200",
    required: true,
    autocomplete: "off",
    placeholder: "Name of a new album",
    "aria-label": "Name of the album",
  });
  const dialog = h(
    "dialog.album-dialog",
    { "aria-label": title },
    h(
      "form",
      { method: "dialog" },
      h("h2", {}, title),
      others.length
        ? h(
            "ul.choose-album",
            {},
            others.map((album) =>
              h(
                "li",
                {},
                h(
                  "button.quiet",
                  { type: "button", onclick: () => dialog.close(album.name) },
                  h("span", {}, album.name),
                  h("span.n", {}, count(album.pictures)),
                ),
              ),
            ),
          )
        : null,
      make && field,
      h(
        "p",
        {},
        make && h("button", { type: "submit" }, "Save"),
        h("button.quiet", { type: "button", onclick: () => dialog.close("") }, "Cancel"),
      ),
    ),
  );
  // "; " stands between the albums of a picture, so the server takes no name that has one.
  field.addEventListener("input", () =>
    field.setCustomValidity(field.value.includes(";") ? "The name of an album has no “;”." : ""),
  );
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close(field.value.trim());
  });
  document.body.append(dialog);
  dialog.showModal();
  if (make) field.select();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue || null);
    });
  });
}

/** Put what is chosen into an album; resolves to whether that was done. */
export async function putIntoAlbum(chosen, seen, undone) {
  try {
    const name = await askAlbum(`Put ${pictures(chosen.count)} into an album`, {
      others: await listed(),
    });
    if (!name) return false;
    const number = await sayOf(chosen, { says: "albums", added: [name], removed: [] }, seen);
    if (number === null) return false;
    doneNotice(number, `put into “${name}”`, undone);
    return true;
  } catch (error) {
    notice(error.message);
    return false;
  }
}

export async function takeOutOfAlbum(chosen, seen, undone, name) {
  const said = { says: "albums", added: [], removed: [name] };
  const number = await sayOf(chosen, said, seen);
  if (number !== null) doneNotice(number, `taken out of “${name}”`, undone);
  return number !== null;
}

async function change(album, said, text, label) {
  // Those in the trash, too: what says where they lie hides them otherwise.
  const q = `${albumFilter(album.name)} and (discarded is missing or discarded = true)`;
  const now = await chosenBy(q);
  if (text && !(await confirmed(text(now.count), label, "One undo takes all of it back.")))
    return false;
  return (await sayOfAll({ q, ...now }, said, { sure: true })) !== null;
}

/** Fill the list of albums; *open* shows one. */
export async function showAlbums(open) {
  const box = $("#albums");
  const albums = await listed();
  const again = () => showAlbums(open).catch((error) => notice(error.message));
  const rename = async (album) => {
    const name = await askAlbum(`Rename “${album.name}”`, { value: album.name });
    if (!name || name === album.name) return;
    if (albums.some((other) => other.name === name)) {
      notice(`There is an album “${name}” already.`);
      return;
    }
    if (await change(album, { says: "albums", added: [name], removed: [album.name] })) again();
  };
  const remove = async (album) => {
    const text = (number) =>
      `Take all ${pictures(number)} out of “${album.name}”? The album is gone then, and the pictures stay.`;
    const said = { says: "albums", added: [], removed: [album.name] };
    if (await change(album, said, text, "Delete album")) {
      doneNotice(album.pictures, `taken out of “${album.name}”`, again);
      again();
    }
  };
  const button = (label, sign, act) =>
    h("button.quiet", { type: "button", "aria-label": label, title: label, onclick: act }, sign);
  put(
    box,
    albums.map((album) =>
      h(
        "li",
        {},
        h(
          "a",
          {
            href: `/?${new URLSearchParams({ q: albumFilter(album.name) })}`,
            onclick: (event) => {
              event.preventDefault();
              open(albumFilter(album.name));
            },
          },
          album.name,
        ),
        h("span.n", {}, count(album.pictures)),
        isOwner && button(`Rename ${album.name}`, "✎", () => rename(album)),
        isOwner && button(`Delete ${album.name}`, "✕", () => remove(album)),
      ),
    ),
    albums.length
      ? null
      : h("li.quiet-text", {}, "No album yet. Select pictures, then press Album."),
  );
}
