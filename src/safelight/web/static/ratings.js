// Ratings: shown at once, kept in this browser until the server has them on its disk.
//
// Every event has an id of its own, so sending one twice is harmless, and each has a place of
// its own in the browser's memory, so that two tabs cannot overwrite each other's.
import { $, archive, keep, kept, notice, send, showAway } from "./page.js";

const PREFIX = `safelight.rating.${archive}.`;
const MOST_AT_ONCE = 400_000; // characters of one request, about
const OF_ONE_EVENT = 3000; // pictures
const AFTER_MS = 20000; // the server's view may lag behind its disk by some seconds
const listeners = new Set();
export const undoable = [];
let flushing = false;
let again = false;
let wait = 500;
const memory = new Map();

function waiting() {
  const entries = new Map(memory);
  try {
    for (let at = 0; at < localStorage.length; at += 1) {
      const key = localStorage.key(at);
      if (key.startsWith(PREFIX)) {
        try {
          entries.set(key, JSON.parse(localStorage.getItem(key)));
        } catch {
          localStorage.removeItem(key);
        }
      }
    }
  } catch {
    /* no storage: memory has them */
  }
  return entries;
}
const put = (key, entry) => {
  try {
    localStorage.setItem(key, JSON.stringify(entry));
  } catch {
    memory.set(key, entry);
  }
};
const drop = (key) => {
  memory.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    /* none */
  }
};

export const onChange = (listener) => listeners.add(listener);
const changed = (row) => {
  for (const listener of listeners) listener(row);
};

function showWaiting() {
  const left = [...waiting().values()].filter((entry) => !entry.done).length;
  const line = $("#saving");
  if (line) {
    line.textContent =
      left && wait > 500 ? `${left} rating${left === 1 ? "" : "s"} waiting for the server` : "";
    line.dataset.waiting = String(left);
    showAway();
  }
}

export const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(16))]
    .map((b) => b.toString(16).padStart(2, "0"))
    .join("");
const now = () => new Date().toISOString().replace("Z", "000Z");
const identity = (row) => ({
  sha256: row.sha256,
  ...(row.pixel_sha256 ? { pixel_sha256: row.pixel_sha256 } : {}),
});
export const rater = () => kept("safelight.rater");

function enqueue(event) {
  const whole = {
    event_id: newId(),
    timestamp: now(),
    ...(rater() ? { rater: rater() } : {}),
    ...event,
  };
  put(PREFIX + whole.event_id, { event: whole });
  flush();
  return whole.event_id;
}

export async function flush() {
  if (flushing) {
    again = true;
    return;
  }
  flushing = true;
  const open = [];
  for (const [key, entry] of waiting()) {
    if (entry.done) {
      if (Date.now() - entry.done > AFTER_MS) drop(key);
    } else open.push([key, entry]);
  }
  const batch = [];
  let size = 0;
  for (const one of open) {
    size += one[1].event.many ? one[1].event.many.sha256.length * 2 : 1000;
    if (batch.length === 200 || (batch.length && size > MOST_AT_ONCE)) break;
    batch.push(one);
  }
  try {
    if (batch.length) {
      const answer = await send("/api/ratings", { events: batch.map(([, entry]) => entry.event) });
      wait = 500;
      const said = new Map(batch);
      for (const id of answer.accepted)
        put(PREFIX + id, { event: said.get(PREFIX + id)?.event, done: Date.now() });
      for (const one of answer.refused) {
        drop(PREFIX + one.event_id);
        notice(`A rating was refused: ${one.error}`);
      }
      dispatchEvent(new Event("ratings-saved"));
      if (open.length > batch.length) again = true;
    }
  } catch {
    wait = Math.min(wait * 2, 8000);
    setTimeout(flush, wait);
  }
  flushing = false;
  showWaiting();
  if (again) {
    again = false;
    flush();
  }
}

const SAYS = ["stars", "rejected", "favourite", "tags", "notes", "album"];
const without = (row) => Object.fromEntries(SAYS.map((name) => [name, row[name]]));
const bytes = (digest) =>
  digest.match(/../g).map((pair) => String.fromCharCode(Number.parseInt(pair, 16)));
const packed = (digests) => btoa(digests.map((digest) => bytes(digest).join("")).join(""));
const unpacked = (text) =>
  [...atob(text)]
    .map((c) => c.charCodeAt(0).toString(16).padStart(2, "0"))
    .join("")
    .match(/.{64}/g) ?? [];
const NONE = "0".repeat(64);

/** Pictures as an event about many holds them. */
const together = (rows) => {
  const pixels = rows.map((row) => row.pixel_sha256 ?? NONE);
  return {
    sha256: packed(rows.map((row) => row.sha256)),
    ...(pixels.some((one) => one !== NONE) ? { pixel_sha256: packed(pixels) } : {}),
  };
};
const changedNames = (text, between, event) => {
  const names = new Set((text ?? "").split(between).filter(Boolean));
  for (const name of event.removed ?? []) names.delete(name);
  for (const name of event.added ?? []) names.add(name);
  return [...names].sort().join(between);
};

function apply(row, event) {
  if (event.kind === "many") {
    apply(row, { ...event, kind: event.says });
    return;
  }
  if (event.after) row.after = Math.max(row.after ?? 0, event.after);
  if (event.kind === "stars") row.stars = event.value || null;
  if (event.kind === "reject") row.rejected = event.value;
  if (event.kind === "favourite") row.favourite = event.value;
  if (event.kind === "note") row.notes = event.value || null;
  if (event.kind === "tags") row.tags = changedNames(row.tags, ", ", event);
  if (event.kind === "albums") row.album = changedNames(row.album, "; ", event);
}

/** Put what was said lately over rows that the server gave. */
export function overlay(rows) {
  const bySha256 = new Map();
  const entries = [...waiting().values()]
    .map((entry) => entry.event)
    .filter(Boolean)
    .sort((a, b) => (a.timestamp < b.timestamp ? -1 : 1));
  const undone = new Set(
    entries.filter((event) => event.kind === "undo").map((event) => event.undoes),
  );
  for (const event of entries) {
    if (undone.has(event.event_id)) continue;
    const about = event.many ? unpacked(event.many.sha256) : [event.image?.sha256];
    for (const digest of about)
      if (digest) bySha256.set(digest, [...(bySha256.get(digest) ?? []), event]);
  }
  for (const row of rows) for (const event of bySha256.get(row.sha256) ?? []) apply(row, event);
  return rows;
}

// What a rating follows is what this page had read, not what the clocks say.
const following = (rows) =>
  rows.every((row) => row.after !== undefined)
    ? { after: Math.max(...rows.map((row) => row.after)) + 1 }
    : {};

function say(row, values) {
  const event = { ...values, ...following([row]) };
  const before = without(row);
  const id = enqueue({ image: identity(row), ...event });
  apply(row, event);
  undoable.push({ ids: [id], rows: [{ row, before }], row });
  changed(row);
}

/** Say one thing of many pictures at once, which one undo takes back.
 *
 * *written*: the server was told of all of them already, and these are those that are seen.
 */
export function sayOfMany(rows, { says, ...more }, { written = false } = {}) {
  const statement = { kind: "many", says, ...more };
  const before = rows.map((row) => ({ row, before: without(row) }));
  const ids = [];
  for (let from = 0; !written && from < rows.length; from += OF_ONE_EVENT) {
    const some = rows.slice(from, from + OF_ONE_EVENT);
    ids.push(enqueue({ ...statement, many: together(some), ...following(some) }));
  }
  const after = following(rows).after ?? 0;
  for (const row of rows) apply(row, { ...statement, after });
  if (written) undoable.at(-1).rows = before;
  else undoable.push({ ids, rows: before, row: null });
  for (const row of rows) changed(row);
}

export const stars = (row, value) =>
  say(row, { kind: "stars", value: row.stars === value ? 0 : value });
export const reject = (row) => say(row, { kind: "reject", value: !row.rejected });
export const favourite = (row) => say(row, { kind: "favourite", value: !row.favourite });
export const note = (row, text) => say(row, { kind: "note", value: text });
/** Say what a dialog of tags gave. */
export function tag(row, { added, removed, note: text }) {
  if (added.length || removed.length) say(row, { kind: "tags", added, removed });
  if (text !== null) note(row, text);
}

export function pick(rows, won) {
  const event = { kind: "pick", shown: rows.map(identity), won, ...following(rows) };
  const id = enqueue(event);
  for (const row of rows) apply(row, event);
  undoable.push({ ids: [id], rows: [], row: null, shown: rows });
}

/** Say that *rows* were shown and left without a word: they come again behind all others. */
export function passOver(rows) {
  const event = { kind: "seen", shown: rows.map(identity), ...following(rows) };
  const id = enqueue(event);
  for (const row of rows) apply(row, event);
  undoable.push({ ids: [id], rows: [], row: null, shown: rows });
}

/** Take back the last thing that was said here, or *what*; return it. */
export function undo(what = undoable.at(-1)) {
  const place = undoable.indexOf(what);
  const [last] = place < 0 ? [] : undoable.splice(place, 1);
  if (!last) {
    notice("There is nothing to undo.");
    return null;
  }
  for (const id of last.ids) enqueue({ kind: "undo", undoes: id });
  for (const { row, before } of last.rows) {
    Object.assign(row, before);
    changed(row);
  }
  notice("Undone.");
  return last;
}

/** Whether rating goes on to the next picture; people say so, and it is kept. */
export const goesOn = () => kept("safelight.advance", "1") === "1";
export function toggleGoingOn() {
  keep("safelight.advance", goesOn() ? "0" : "1");
  notice(goesOn() ? "Rating goes on to the next picture." : "Rating stays.");
}

export const starText = (row) => (row.stars ? "★".repeat(Math.round(row.stars)) : "");

/** Keys that rate; *current* gives the row, *next* goes on.
 *
 * *asked.many(says, value)* may say it of all that is selected instead, and returns whether it did.
 */
export const ratingKeys = (current, next, asked = {}) => {
  const on = (says, act, value) => () => {
    if (asked.many?.(says, value)) return undefined;
    const row = current();
    if (!row) return false;
    act(row);
    next(row);
    return undefined;
  };
  const keys = {};
  for (const value of [1, 2, 3, 4, 5])
    keys[`stars${value}`] = {
      keys: [String(value)],
      label: `${value} star${value > 1 ? "s" : ""}; again clears`,
      once: true,
      do: on("stars", (row) => stars(row, value), value),
    };
  return {
    ...keys,
    clear: {
      keys: ["0"],
      label: "Clear the stars",
      once: true,
      do: () => {
        if (asked.many?.("clear")) return undefined;
        const row = current();
        if (!row) return false;
        if (row.stars) stars(row, row.stars);
        return undefined;
      },
    },
    reject: { keys: ["x", "Delete"], label: "Reject", once: true, do: on("reject", reject) },
    favourite: {
      keys: ["f"],
      label: "Favourite",
      once: true,
      do: () => {
        if (asked.many?.("favourite")) return undefined;
        const row = current();
        if (!row) return false;
        favourite(row);
        return undefined;
      },
    },
    tag: {
      keys: ["t"],
      label: "Tags",
      do: () => {
        if (asked.many?.("tags")) return undefined;
        const row = current();
        if (!row) return false;
        asked.tags?.(row);
        return undefined;
      },
    },
    undo: {
      keys: ["Ctrl+z", "u"],
      label: "Undo",
      once: true,
      do: () => {
        asked.undone?.(undo());
      },
    },
  };
};

addEventListener("online", () => {
  wait = 500;
  flush();
});
addEventListener("storage", (event) => {
  if (event.key?.startsWith(PREFIX)) showWaiting();
});
setInterval(() => {
  if ([...waiting().values()].some((entry) => entry.done)) flush();
}, AFTER_MS);
flush();
