// Ratings: shown at once, kept in this browser until the server has them on its disk.
//
// Every event has an id of its own, so sending one twice is harmless, and each has a place of
// its own in the browser's memory, so that two tabs cannot overwrite each other's.
import { $, archive, kept, notice, send, showAway } from "./page.js";

const PREFIX = `safelight.rating.${archive}.`;
const AFTER_MS = 20000; // the server's view may lag behind its disk by some seconds
const listeners = new Set();
const undoable = [];
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
  const batch = open.slice(0, 200);
  try {
    if (batch.length) {
      const answer = await send("/api/ratings", { events: batch.map(([, entry]) => entry.event) });
      wait = 500;
      for (const id of answer.accepted)
        put(PREFIX + id, { event: waiting().get(PREFIX + id)?.event, done: Date.now() });
      for (const one of answer.refused) {
        drop(PREFIX + one.event_id);
        notice(`A rating was refused: ${one.error}`);
      }
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

function apply(row, event) {
  if (event.after) row.after = Math.max(row.after ?? 0, event.after);
  if (event.kind === "stars") row.stars = event.value || null;
  if (event.kind === "reject") row.rejected = event.value;
  if (event.kind === "favourite") row.favourite = event.value;
  if (event.kind === "note") row.notes = event.value || null;
  if (event.kind === "tags") {
    const tags = new Set((row.tags ?? "").split(" ").filter(Boolean));
    for (const tag of event.added ?? []) tags.add(tag);
    for (const tag of event.removed ?? []) tags.delete(tag);
    row.tags = [...tags].sort().join(" ");
  }
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
    if (!event.image || undone.has(event.event_id)) continue;
    bySha256.set(event.image.sha256, [...(bySha256.get(event.image.sha256) ?? []), event]);
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
  const before = {
    stars: row.stars,
    rejected: row.rejected,
    favourite: row.favourite,
    tags: row.tags,
    notes: row.notes,
  };
  const id = enqueue({ image: identity(row), ...event });
  apply(row, event);
  undoable.push({ id, row, before });
  changed(row);
}

export const stars = (row, value) =>
  say(row, { kind: "stars", value: row.stars === value ? 0 : value });
export const reject = (row) => say(row, { kind: "reject", value: !row.rejected });
export const favourite = (row) => say(row, { kind: "favourite", value: !row.favourite });
export const note = (row, text) => say(row, { kind: "note", value: text });
export function tag(row, text) {
  const now_ = new Set((row.tags ?? "").split(" ").filter(Boolean));
  const wanted = new Set(text.split(/[\s,]+/).filter(Boolean));
  const added = [...wanted].filter((one) => !now_.has(one));
  const removed = [...now_].filter((one) => !wanted.has(one));
  if (added.length || removed.length) say(row, { kind: "tags", added, removed });
}

export function pick(rows, won) {
  const event = { kind: "pick", shown: rows.map(identity), won, ...following(rows) };
  const id = enqueue(event);
  for (const row of rows) apply(row, event);
  undoable.push({ id, row: null, before: null });
}

/** Take back the last thing that was said here; return its row, if it had one. */
export function undo() {
  const last = undoable.pop();
  if (!last) {
    notice("There is nothing to undo.");
    return null;
  }
  enqueue({ kind: "undo", undoes: last.id });
  if (last.row) {
    Object.assign(last.row, last.before);
    changed(last.row);
  }
  notice("Undone.");
  return last;
}

export const starText = (row) => (row.stars ? "★".repeat(Math.round(row.stars)) : "");

/** Keys that rate; *current* gives the row, *next* goes on. */
export const ratingKeys = (current, next, asked = {}) => {
  const on = (act) => () => {
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
      do: on((row) => stars(row, value)),
    };
  return {
    ...keys,
    clear: {
      keys: ["0"],
      label: "Clear the stars",
      do: () => {
        const row = current();
        if (!row) return false;
        if (row.stars) stars(row, row.stars);
        return undefined;
      },
    },
    reject: { keys: ["x", "Delete"], label: "Reject", do: on(reject) },
    favourite: {
      keys: ["f"],
      label: "Favourite",
      do: () => {
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
        const row = current();
        if (!row) return false;
        asked.tags?.(row);
        return undefined;
      },
    },
    undo: {
      keys: ["Ctrl+z", "u"],
      label: "Undo",
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
