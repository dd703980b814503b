// The grid: only what is near the screen exists, pages come as they are needed.

import { showAlbums } from "./albums.js";
import { doors } from "./doors.js";
import { drawer, Facets } from "./facets.js";
import { FindField, showChips } from "./find_field.js";
import { dragFile, handOver } from "./hand_over.js";
import { showImports } from "./importing.js";
import { bind } from "./keys.js";
import {
  $,
  ask,
  count,
  first,
  h,
  isAway,
  isOwner,
  keep,
  kept,
  listen,
  notice,
  put,
  send,
} from "./page.js";
import { goesOn, onChange, overlay, ratingKeys, toggleGoingOn } from "./ratings.js";
import { Selection, selectionKeys } from "./selection.js";
import { addAction } from "./selection_actions.js";
import { discard, filesWords, planned, sizeWords } from "./trash.js";
import { Viewer, viewerKeys } from "./viewer.js";

const GAP = 6,
  HEAD = 38,
  MOST_WIDE = 3, // times as wide as high, or as high as wide
  RECOUNT_MS = 250;
const start = first();
const wanted = { q: start.q, sort: start.sort, group: start.group };
const scroller = $("#scroller"),
  grid = $("#grid");
let rows = overlay(start.rows),
  after = start.after,
  total = null;
let lines = [],
  columns = 1,
  across = 0,
  tile = 180,
  squares = kept("safelight.squares") === "1",
  height = 0,
  loading = null,
  at = 0,
  generation = 0;
const shown = new Map(),
  spare = { row: [], head: [] };
const selection = new Selection($("#selection"), {
  rows: () => rows,
  total: () => total,
  filter: () => wanted.q,
  changed: () => {
    for (const cell of cellsShown()) dress(cell);
  },
  undone: () => facets(),
  said: () => facets(),
});
const address = (more = {}) => {
  const query = new URLSearchParams(
    Object.entries({ ...wanted, ...more }).filter(
      ([key, value]) => value && !(key === "sort" && value === "-timestamp"),
    ),
  ).toString();
  return query;
};

// -- layout ------------------------------------------------------------------------------

const groupOf = (row) =>
  ({ run: row.run_id, prompt: row.prompt ?? "(no prompt)", seed: row.seed ?? "(no seed)" })[
    wanted.group
  ];
const groupName = (row) =>
  wanted.group === "run"
    ? `${row.name || row.run_id} · ${(row.timestamp ?? "").slice(0, 16).replace("T", " ")}`
    : wanted.group === "seed"
      ? `seed ${groupOf(row)}`
      : groupOf(row);

/** Width over height of what stands for *row*: a panorama or a banner takes not all of a line. */
const shapeOf = (row) =>
  squares || !row.width || !row.height
    ? 1
    : Math.min(MOST_WIDE, Math.max(1 / MOST_WIDE, row.width / row.height));

/** Lay out what is there from *from* on; the last line before it may take more. */
function layOut(from = 0) {
  if (from === 0) {
    lines = [];
    height = 0;
  }
  let line = null,
    sum = 0;
  const begin = (index) => {
    line = { kind: "row", index, count: 0, y: height, h: tile + GAP, widths: [] };
    lines.push(line);
    sum = 0;
  };
  const end = (whole) => {
    if (!line?.count) return;
    // A line that is full is as high as lets it fill the width; the last of a group is not blown up.
    const gaps = (line.count - 1) * GAP,
      high = whole ? (across - gaps) / sum : Math.min(tile, (across - gaps) / sum);
    line.h = Math.floor(high) + GAP;
    line.widths = line.shapes.map((shape) => Math.floor(shape * high));
    height = line.y + line.h;
    line = null;
  };
  const last = lines.at(-1);
  if (last?.kind === "row") {
    lines.pop();
    height = last.y;
    from = last.index;
    stale(last);
  }
  for (let index = from; index < rows.length; index += 1) {
    const key = wanted.group ? groupOf(rows[index]) : null;
    if (wanted.group && (index === 0 || key !== groupOf(rows[index - 1]))) {
      end(false);
      lines.push({ kind: "head", index, y: height, h: HEAD });
      height += HEAD;
    }
    if (!line) {
      begin(index);
      line.shapes = [];
    }
    const shape = shapeOf(rows[index]);
    line.shapes.push(shape);
    line.count += 1;
    sum += shape;
    const full = squares
      ? line.count === columns
      : sum * tile + (line.count - 1) * GAP >= across - tile / 3;
    if (full) end(true);
  }
  end(false);
  grid.style.height = `${height}px`;
}

/** Let go of how *line* was drawn: it is laid out again. */
function stale(line) {
  const element = shown.get(line);
  if (!element) return;
  shown.delete(line);
  element.box.hidden = true;
  spare.row.push(element);
}

function measure() {
  across = scroller.clientWidth - 2 * GAP;
  const wish = Number($("#size").value);
  columns = Math.max(2, Math.floor((across + GAP) / (wish + GAP)));
  tile = squares ? Math.floor((across - (columns - 1) * GAP) / columns) : wish;
}

/** The picture above or below the one at *index*, by where their middles are. */
function beside(index, step) {
  const place = lines.indexOf(lineOf(index));
  let other = place + step;
  while (lines[other]?.kind === "head") other += step;
  if (!lines[other]) return index;
  const middleOf = (line, number) =>
    line.widths.slice(0, number).reduce((x, width) => x + width + GAP, 0) + line.widths[number] / 2;
  const wish = middleOf(lines[place], index - lines[place].index);
  let best = 0;
  for (let number = 1; number < lines[other].count; number += 1)
    if (
      Math.abs(middleOf(lines[other], number) - wish) <
      Math.abs(middleOf(lines[other], best) - wish)
    )
      best = number;
  return lines[other].index + best;
}

function lineAt(y) {
  let low = 0,
    high = lines.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (lines[middle].y <= y) low = middle;
    else high = middle - 1;
  }
  return Math.max(0, low);
}
const lineOf = (index) => {
  let low = 0,
    high = lines.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (lines[middle].index <= index) low = middle;
    else high = middle - 1;
  }
  return lines[low];
};

// -- drawing -----------------------------------------------------------------------------

function makeTile() {
  const image = h("img.veiled", { alt: "", decoding: "async", draggable: "false" });
  const link = h(
    "a.tile",
    { draggable: "true" },
    image,
    h("span.stars", { "aria-hidden": "true" }),
    h("span.flags", { "aria-hidden": "true" }),
    h("span.tags", { "aria-hidden": "true" }),
  );
  const tick = h("button.tick", { type: "button", tabindex: "-1", "aria-label": "Select" }, "✓");
  const box = h("div.cell-box", { role: "listitem" }, link, tick);
  image.addEventListener("load", () => image.classList.add("there"));
  image.addEventListener("error", () => {
    image.classList.remove("there");
    link.classList.add("gone");
  });
  return {
    box,
    link,
    image,
    tick,
    stars: link.children[1],
    flags: link.children[2],
    tags: link.children[3],
    row: null,
    index: -1,
  };
}

function fill(cell, index, wide, high) {
  const row = rows[index],
    longer = Math.max(wide, high) * devicePixelRatio,
    side = longer > 384 ? 768 : longer > 192 ? 384 : 192;
  cell.box.style.width = `${wide}px`;
  const source = `/thumbnails/${row.sha256}?side=${side}`;
  if (cell.source !== source) {
    cell.source = source;
    cell.image.classList.remove("there");
    cell.link.classList.remove("gone");
    cell.image.src = source;
  }
  cell.row = row;
  cell.index = index;
  cell.link.href = `/look/${row.sha256}?${address()}`;
  dress(cell);
}

function dress(cell) {
  const row = cell.row;
  const marks = [
    row.stars ? `${Math.round(row.stars)} star${Math.round(row.stars) === 1 ? "" : "s"}` : "",
    row.favourite ? "favourite" : "",
    row.rejected ? "rejected" : "",
    row.mismatches ? "differs from what was asked" : "",
    row.tags ? `tags: ${row.tags}` : "",
  ]
    .filter(Boolean)
    .join(", ");
  cell.image.alt = `${row.prompt?.slice(0, 140) || "no prompt"}${marks ? ` (${marks})` : ""}`;
  cell.stars.textContent = row.stars ? "★".repeat(Math.round(row.stars)) : "";
  cell.flags.textContent = `${row.favourite ? "♥" : ""}${row.mismatches ? "≠" : ""}`;
  cell.tags.textContent = row.tags ?? "";
  cell.link.classList.toggle("rejected", Boolean(row.rejected));
  cell.link.tabIndex = cell.index === at ? 0 : -1;
  cell.box.classList.toggle("is-at", cell.index === at);
  const on = selection.has(row);
  cell.box.classList.toggle("is-chosen", on);
  cell.tick.setAttribute("aria-pressed", String(on));
}

function drawLine(line) {
  let element = spare[line.kind].pop();
  if (!element) {
    element =
      line.kind === "head"
        ? { box: h("div.group-head", { role: "presentation" }) }
        : { box: h("div.line", { role: "presentation" }), cells: [] };
    grid.append(element.box);
  }
  element.box.hidden = false;
  element.box.style.transform = `translateY(${line.y}px)`;
  if (line.kind === "head") {
    const row = rows[line.index];
    put(
      element.box,
      h(
        "div",
        { role: "listitem" },
        h("span", {}, groupName(row)),
        wanted.group === "run" &&
          h("a.quiet", { href: `/sheet?run=${encodeURIComponent(row.run_id)}` }, "sheet"),
      ),
    );
  } else {
    element.box.style.height = `${line.h - GAP}px`;
    while (element.cells.length < line.count) {
      const cell = makeTile();
      element.cells.push(cell);
      element.box.append(cell.box);
    }
    element.cells.forEach((cell, place) => {
      cell.box.hidden = place >= line.count;
      if (place < line.count) fill(cell, line.index + place, line.widths[place], line.h - GAP);
      else {
        cell.row = null;
        cell.index = -1;
      }
    });
  }
  return element;
}

let scheduled = false;
function draw() {
  scheduled = false;
  const top = scroller.scrollTop,
    seen = scroller.clientHeight,
    reach = Math.max(400, seen * 0.75);
  const wantedLines = new Set();
  for (
    let place = lineAt(Math.max(0, top - reach));
    place < lines.length && lines[place].y < top + seen + reach;
    place += 1
  )
    wantedLines.add(lines[place]);
  for (const [line, element] of shown)
    if (!wantedLines.has(line)) {
      element.box.hidden = true;
      spare[line.kind].push(element);
      shown.delete(line);
    }
  for (const line of wantedLines) if (!shown.has(line)) shown.set(line, drawLine(line));
  if (after && height - top - seen < seen * 4) more();
}
const later = () => {
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(draw);
  }
};

function redraw() {
  for (const [line, element] of shown) {
    element.box.hidden = true;
    spare[line.kind].push(element);
  }
  shown.clear();
  draw();
  showCount();
}

const cellsShown = function* () {
  for (const [line, element] of shown)
    if (line.kind === "row") for (const cell of element.cells) if (cell.row) yield cell;
};

// -- pages -------------------------------------------------------------------------------

async function more() {
  if (loading || !after) return loading;
  const mine = generation;
  loading = ask(`/api/pictures?${address({ limit: "240", after })}`)
    .then((page) => {
      if (mine !== generation) return;
      const from = rows.length;
      rows = rows.concat(overlay(page.rows));
      after = page.after;
      layOut(from);
      later();
      showCount();
    })
    .catch(async (error) => {
      if (isAway(error)) await new Promise((tryAgain) => setTimeout(tryAgain, 2000));
      else if (mine === generation) {
        notice(error.message);
        after = null;
      }
    })
    .finally(() => {
      loading = null;
      if (mine === generation) later();
    });
  return loading;
}

function showCount() {
  const empty = $("#empty");
  $("#count").textContent =
    total === null ? "" : `${count(total)} picture${total === 1 ? "" : "s"}`;
  empty.hidden = rows.length > 0 || Boolean($("#fault").textContent);
  document.body.classList.toggle("is-empty", !empty.hidden && !wanted.q);
  if (!empty.hidden && !empty.childElementCount) {
    empty.append(
      wanted.q
        ? h("p", {}, "No picture meets this filter.")
        : isOwner
          ? doors()
          : h("p", {}, "Nothing on the table yet. Pictures appear here as they come."),
    );
  }
}

function tellFault(text) {
  $("#fault").textContent = text;
  if (text) $("#q").setAttribute("aria-invalid", "true");
  else $("#q").removeAttribute("aria-invalid");
}

let missed = false; // what was asked while nobody answered
async function go(change, { push = true } = {}) {
  Object.assign(wanted, change);
  if (wanted.group === "prompt" || wanted.group === "seed") wanted.sort = wanted.group;
  else if (wanted.group === "run" && !wanted.sort.endsWith("timestamp")) wanted.sort = "-timestamp";
  const mine = ++generation;
  const query = address();
  if (push) history.pushState({ ...wanted }, "", query ? `/?${query}` : "/");
  $("#q").value = wanted.q;
  $("#sort").value = wanted.sort;
  $("#group").value = wanted.group;
  $("#as-sheet").href = `/sheet?${new URLSearchParams({ q: wanted.q })}`;
  document.body.classList.add("busy");
  leaveThumbnails();
  const tiles = ask(`/api/pictures?${address({ limit: "120" })}`);
  const counted = facets(); // behind the tiles, and before their thumbnails
  try {
    const page = await tiles;
    if (mine !== generation) return;
    tellFault("");
    missed = false;
    showChips($("#chips"), page.chips, go);
    rows = overlay(page.rows);
    after = page.after;
    at = 0;
    selection.moved();
    scroller.scrollTop = 0;
    $("#fresh").hidden = true;
    put($("#empty"));
    layOut();
    redraw();
  } catch (error) {
    if (mine !== generation) return;
    missed = isAway(error);
    if (!missed) tellFault(error.message);
  }
  document.body.classList.remove("busy");
  await counted;
}

/** Thumbnails that have not come yet would keep the browser's few connections from the new page. */
function leaveThumbnails() {
  for (const cell of cellsShown())
    if (cell.source && !cell.image.classList.contains("there")) {
      cell.source = null;
      cell.image.removeAttribute("src");
    }
}

const narrowing = new Facets($("#facets"), { wanted, go });
/** What other tools executed that meets the filter and ended without a picture. */
async function blanks(mine) {
  const query = new URLSearchParams({ q: wanted.q });
  const answer = await ask(`/api/executions?${query}`);
  if (mine !== generation) return;
  const link = $("#blanks");
  link.hidden = answer.count === 0;
  link.href = `/executions${wanted.q ? `?${query}` : ""}`;
  const executions = `${count(answer.count)} execution${answer.count === 1 ? "" : "s"}`;
  link.textContent = `${executions} without a picture: ${answer.words}`;
}

async function facets({ fresh = false } = {}) {
  const mine = generation;
  if (isOwner && !fresh) blanks(mine).catch(() => {}); // why not is said where pictures are asked
  const query = new URLSearchParams({ q: wanted.q, ...(fresh && { fresh: "1" }) });
  try {
    const answer = await ask(`/api/facets?${query}`);
    if (mine !== generation) return;
    total = answer.total;
    showCount();
    narrowing.show(answer);
    selection.show();
    offerDiscard();
  } catch {
    // What is wrong with the filter, or that nobody answers, is said where the pictures are asked.
  }
}

// -- cleaning up, handing over -----------------------------------------------------------

const setOf = ({ rows, q }) => (rows ? { sha256s: rows.map((row) => row.sha256) } : { q });
addAction({
  name: "download",
  label: "Download…",
  title: "Save as a .zip, with the settings inside or without",
  do: (chosen) => handOver(setOf(chosen)),
});
addAction({
  name: "trash",
  label: "Move to trash…",
  ownersOnly: true,
  do: async (chosen) => ({
    clear: await discard(setOf(chosen), () => go({}, { push: false })),
  }),
});
$("#hand-over").addEventListener("click", () => handOver({ q: wanted.q }));
grid.addEventListener("dragstart", (event) => {
  for (const cell of cellsShown())
    if (cell.link.contains(event.target)) dragFile(event, cell.row.sha256, cell.row.file_name);
});

/** Where rejects are shown, say how many there are, and offer to move them away. */
async function offerDiscard() {
  const button = $("#discard"),
    q = wanted.q;
  if (!button) return;
  button.hidden = true;
  if (!/\brejected\s*=\s*true\b/.test(q)) return;
  const plan = await planned({ q }).catch(() => null);
  if (!plan?.files || q !== wanted.q) return;
  button.textContent = `Rejects: ${filesWords(plan.files)}, ${sizeWords(plan.size)}: move to trash…`;
  button.onclick = () => discard({ q }, () => go({}, { push: false }));
  button.hidden = false;
}

// -- moving and choosing -----------------------------------------------------------------

function goTo(index, focus = true) {
  if (!rows.length) return;
  at = Math.max(0, Math.min(index, rows.length - 1));
  const line = lineOf(at);
  if (line.y < scroller.scrollTop + 4) scroller.scrollTop = line.y - 4;
  else if (line.y + line.h > scroller.scrollTop + scroller.clientHeight)
    scroller.scrollTop = line.y + line.h - scroller.clientHeight + 4;
  draw();
  for (const cell of cellsShown()) {
    dress(cell);
    if (cell.index === at && focus && viewerHidden()) cell.link.focus({ preventScroll: true });
  }
  if (after && at > rows.length - 40) more();
}

// -- the viewer over the grid --------------------------------------------------------------

const viewerRoot = $("#viewer");
const viewerHidden = () => viewerRoot.hidden;
const indexOf = new Proxy(
  {},
  { get: (_, digest) => rows.findIndex((row) => row.sha256 === digest) },
);
const viewer = new Viewer(viewerRoot, {
  link: (digest) => `/look/${digest}?${address()}`,
  rowOf: (digest) =>
    rows[at]?.sha256 === digest ? rows[at] : rows.find((row) => row.sha256 === digest),
  peek: async (step) => rows[at + step]?.sha256,
  nearRow: (step) => rows[at + step],
  rated: () => goOn(),
  undone,
  move: async (step) => {
    if (at + step >= rows.length && after) await more();
    else if (after && at > rows.length - 40) more();
    if (!rows[at + step]) return null;
    at += step;
    history.replaceState({ look: rows[at].sha256 }, "", `/look/${rows[at].sha256}?${address()}`);
    return rows[at].sha256;
  },
  discarded: () => {
    viewer.host.close();
    go({}, { push: false });
  },
  close: () => {
    if (history.state?.look) history.back();
    else closeViewer();
  },
});
function openViewer(index) {
  at = index;
  history.pushState({ look: rows[at].sha256 }, "", `/look/${rows[at].sha256}?${address()}`);
  viewerRoot.hidden = false;
  document.body.classList.add("looking");
  viewer.seenBefore = rows[at].sha256;
  viewer.show(rows[at].sha256);
}
function closeViewer() {
  viewerRoot.hidden = true;
  document.body.classList.remove("looking");
  document.title = "Browse · safelight";
  if (document.fullscreenElement) document.exitFullscreen();
  goTo(at);
}
addEventListener("popstate", (event) => {
  if (event.state?.look) {
    const index = indexOf[event.state.look];
    if (index >= 0) {
      at = index;
      viewerRoot.hidden = false;
      document.body.classList.add("looking");
      viewer.show(event.state.look);
    } else location.reload();
    return;
  }
  if (!viewerHidden()) {
    closeViewer();
    return;
  }
  const asked = new URLSearchParams(location.search);
  go(
    {
      q: asked.get("q") ?? "",
      sort: asked.get("sort") ?? "-timestamp",
      group: asked.get("group") ?? "",
    },
    { push: false },
  );
});

// -- what people do ------------------------------------------------------------------------

const cellOf = (target) => {
  const box = target.closest(".cell-box");
  return box && [...cellsShown()].find((cell) => cell.box === box);
};
grid.addEventListener("click", (event) => {
  const cell = cellOf(event.target);
  if (!cell) return;
  if (event.button) return;
  event.preventDefault();
  // Where there is no pointer to hover with, one tap opens, and taps select once one is selected.
  const taps = selection.count > 0 && matchMedia("(hover: none)").matches;
  if (event.shiftKey) selection.extend(cell.index);
  else if (taps || event.ctrlKey || event.metaKey || event.target.closest(".tick"))
    selection.toggle(cell.index);
  else openViewer(cell.index);
});
grid.addEventListener("focusin", (event) => {
  const cell = cellOf(event.target);
  if (cell && cell.index !== at) {
    at = cell.index;
    for (const one of cellsShown()) dress(one);
  }
});
onChange((row) => {
  for (const cell of cellsShown())
    if (cell.row.sha256 === row.sha256) {
      if (cell.row !== row)
        for (const name of ["stars", "rejected", "favourite", "tags", "notes", "album"])
          cell.row[name] = row[name];
      dress(cell);
    }
});
scroller.addEventListener("scroll", later, { passive: true });
new ResizeObserver(() => {
  measure();
  layOut();
  redraw();
  if (at) goTo(at, false);
}).observe(scroller);
$("#size").value = kept("safelight.size", "180");
$("#size").addEventListener("input", (event) => {
  keep("safelight.size", event.target.value);
  measure();
  layOut();
  redraw();
  goTo(at, false);
});
$("#squares").setAttribute("aria-pressed", String(squares));
$("#squares").addEventListener("click", (event) => {
  squares = !squares;
  keep("safelight.squares", squares ? "1" : "0");
  event.currentTarget.setAttribute("aria-pressed", String(squares));
  measure();
  layOut();
  redraw();
  goTo(at, false);
});
$("#search").addEventListener("submit", (event) => {
  event.preventDefault();
  go({ q: $("#q").value.trim() });
  grid.querySelector(".tile")?.focus();
});
new FindField($("#q"), $("#completions"));
showChips($("#chips"), start.chips, go);
$("#sort").addEventListener("change", (event) => go({ sort: event.target.value, group: "" }));
$("#group").addEventListener("change", (event) =>
  go({ group: event.target.value, sort: "-timestamp" }),
);
drawer($("#facets-toggle"));

const inGrid = (act) => () => (viewerHidden() ? act() : false);
const rated = () => (viewerHidden() ? rows[at] : viewer.ratable());
/** Go on after a rating, where people want that. */
function goOn() {
  if (!goesOn()) return;
  if (at + 1 >= rows.length && !after) notice("That was the last picture.");
  else if (viewerHidden()) goTo(at + 1);
  else viewer.move(1);
}
function undone(last) {
  const index = last?.row ? rows.indexOf(last.row) : -1;
  if (index < 0) return;
  if (viewerHidden()) goTo(index);
  else {
    at = index;
    viewer.show(last.row.sha256);
  }
}
bind({
  next: { keys: ["ArrowRight", "k"], label: "Next picture", do: inGrid(() => goTo(at + 1)) },
  previous: { keys: ["ArrowLeft", "j"], label: "Previous picture", do: inGrid(() => goTo(at - 1)) },
  below: { keys: ["ArrowDown"], label: "The picture below", do: inGrid(() => goTo(beside(at, 1))) },
  above: { keys: ["ArrowUp"], label: "The picture above", do: inGrid(() => goTo(beside(at, -1))) },
  home: { keys: ["Home"], label: "The first picture", do: inGrid(() => goTo(0)) },
  end: { keys: ["End"], label: "The last that is loaded", do: inGrid(() => goTo(rows.length - 1)) },
  look: {
    keys: ["Enter", " "],
    label: "Look at it",
    do: inGrid(() => {
      if (!rows.length) return false;
      openViewer(at);
      return undefined;
    }),
  },
  infoInGrid: {
    keys: ["i"],
    label: "Look at its settings",
    do: inGrid(() => {
      if (!rows.length) return false;
      openViewer(at);
      viewer.toggleInfo(true);
      return undefined;
    }),
  },
});
selectionKeys(selection, inGrid, () => (rows.length ? at : -1));
bind(
  ratingKeys(rated, goOn, {
    tags: (row) => viewer.askTags(row),
    many: (says, value) => viewerHidden() && selection.act(says, value),
    undone,
  }),
);
bind(viewerKeys(viewer, () => !viewerHidden()));
bind({
  advance: {
    keys: ["a"],
    label: "Go on after rating, or stay",
    do: () => {
      toggleGoingOn();
      viewer.showGoingOn();
    },
  },
});

// -- saved searches ------------------------------------------------------------------------

async function showSearches(saved = null) {
  const { searches } = saved ?? (await ask("/api/searches"));
  put(
    $("#searches"),
    ...searches.map((one) =>
      h(
        "li",
        {},
        h(
          "a",
          {
            href: `/?${new URLSearchParams({ q: one.q, sort: one.sort, group: one.group })}`,
            onclick: (event) => {
              event.preventDefault();
              $(".searches").open = false;
              go({ q: one.q, sort: one.sort, group: one.group });
            },
          },
          one.name,
        ),
        h(
          "button.quiet",
          {
            type: "button",
            "aria-label": `Forget ${one.name}`,
            onclick: async () =>
              showSearches(
                await send(
                  "/api/searches",
                  { searches: searches.filter((other) => other !== one) },
                  "PUT",
                ),
              ),
          },
          "✕",
        ),
      ),
    ),
  );
  return searches;
}
$(".searches").addEventListener("toggle", () => {
  if ($(".searches").open) showSearches().catch((error) => notice(error.message));
});
$(".albums").addEventListener("toggle", () => {
  const open = (q) => {
    $(".albums").open = false;
    go({ q });
  };
  if ($(".albums").open) showAlbums(open).catch((error) => notice(error.message));
});
$("#save-search").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = event.target.elements.name.value.trim();
  try {
    const { searches } = await ask("/api/searches");
    await showSearches(
      await send(
        "/api/searches",
        { searches: [...searches.filter((one) => one.name !== name), { name, ...wanted }] },
        "PUT",
      ),
    );
    event.target.reset();
  } catch (error) {
    notice(error.message);
  }
});

// -- news --------------------------------------------------------------------------------

let archiveSeen = null;
async function fresh() {
  facets();
  if (wanted.sort !== "-timestamp") {
    const button = $("#fresh");
    button.hidden = false;
    button.textContent = "New pictures";
    button.onclick = () => go({}, { push: false });
    return;
  }
  const mine = generation;
  const page = await ask(`/api/pictures?${address({ limit: "240" })}`);
  if (mine !== generation) return;
  const known = new Set(rows.slice(0, 2000).map((row) => row.sha256));
  const added = [];
  for (const row of page.rows) {
    if (!known.has(row.sha256)) added.push(row);
    else if (row.status !== "running") break; // runs that go on at once make theirs in turns
  }
  if (!added.length) return;
  const add = () => {
    if (added.length === page.rows.length) {
      rows = overlay(page.rows);
      after = page.after;
    } else rows = overlay(added).concat(rows);
    at = Math.min(rows.length - 1, at + (added.length === page.rows.length ? 0 : added.length));
    put($("#empty"));
    $("#fresh").hidden = true;
    layOut();
    redraw();
  };
  if (scroller.scrollTop < tile && viewerHidden()) add();
  else {
    const button = $("#fresh");
    button.hidden = false;
    button.textContent = `${added.length} new picture${added.length === 1 ? "" : "s"}`;
    button.onclick = () => {
      add();
      scroller.scrollTop = 0;
    };
  }
}
async function beingMade() {
  const answer = await ask("/api/being-made");
  const made = overlay(answer.rows);
  const strip = $("#now");
  strip.hidden = made.length === 0;
  const known = new Map(
    [...strip.querySelectorAll("a")].map((link) => [link.dataset.digest, link]),
  );
  put(
    strip,
    h("h2", {}, `Being made now · ${count(answer.total)}`),
    h(
      "div.now-strip",
      { tabindex: "0", role: "group", "aria-label": "Newest first" },
      made.slice(0, 40).map(
        (row) =>
          known.get(row.sha256) ??
          h(
            "a",
            { href: `/look/${row.sha256}`, "data-digest": row.sha256 },
            h("img.veiled", {
              src: `/thumbnails/${row.sha256}?side=192`,
              alt: row.prompt?.slice(0, 100) || "picture",
            }),
          ),
      ),
    ),
  );
}
const MADE_MS = 2500;
let madeSeen = false,
  soon = null;
/** Look for new pictures in a while: several make one look, and counts are not made all the time. */
const freshSoon = () => {
  if (soon) return;
  soon = setTimeout(() => {
    soon = null;
    fresh().catch(() => {});
  }, MADE_MS);
};
let recount = null;
addEventListener("ratings-saved", () => {
  clearTimeout(recount);
  recount = setTimeout(() => facets({ fresh: true }), RECOUNT_MS);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) facets({ fresh: true });
});
listen({
  archive: (seen) => {
    if (missed) go({}, { push: false });
    if (archiveSeen !== null && seen !== archiveSeen) fresh().catch(() => {});
    archiveSeen = seen;
  },
  "being-made": () => {
    beingMade().catch(() => {});
    if (madeSeen) freshSoon(); // they are among the pictures before their run has ended
    madeSeen = true;
  },
  imports: showImports,
});

history.replaceState({ ...wanted }, "");
measure();
layOut();
redraw();
facets();
$("#as-sheet").href = `/sheet?${new URLSearchParams({ q: wanted.q })}`;
if (rows.length && !$("#fault").textContent) goTo(0, false);
