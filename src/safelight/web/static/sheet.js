// The sheet: a table of pictures that is walked in two dimensions, rated in place and zoomed together.

import { bind } from "./keys.js";
import { $, first, keep, kept, listen, put } from "./page.js";
import { onChange, overlay, ratingKeys, starText } from "./ratings.js";
import { Selection } from "./selection.js";
import { Viewer, viewerKeys } from "./viewer.js";
import { Zoom } from "./zoom.js";

const size = $("#cell-size"),
  table = $(".sheet"),
  form = $("#axes");
const show = () => document.documentElement.style.setProperty("--cell", `${size.value}px`);
const THUMBNAIL = 384; // pixels: beyond it a picture would only be blown up
/** The side of a cell with which the sheet fills its place, within reason. */
function fitting() {
  const least = matchMedia("(max-width: 40rem)").matches ? 120 : 160,
    place = $("#sheet");
  if (!place || !table) return least;
  const columns = table.tHead.rows[0].cells.length - 1 || 1,
    lines = table.tBodies[0].rows.length || 1;
  const side = Math.min((place.clientWidth - 200) / columns, (place.clientHeight - 80) / lines) - 6;
  return Math.min(THUMBNAIL, Math.max(least, Math.floor(side / 8) * 8));
}
size.value = kept("safelight.cell", "") || fitting();
show();
size.addEventListener("input", () => {
  keep("safelight.cell", size.value);
  show();
});
const axes = form.elements;
const before = { x: axes.x?.value, y: axes.y?.value };
for (const field of axes)
  if (field.matches("select"))
    field.addEventListener("change", () => {
      const other = { x: "y", y: "x" }[field.name];
      if (other && axes[other].value === field.value) axes[other].value = before[field.name]; // they change places
      // What was held beside other axes is no wish for these.
      if (other) for (const one of axes) if (one.name.startsWith("only.")) one.disabled = true;
      form.requestSubmit();
    });

function walk() {
  const { rows, cells } = first();
  overlay(rows);
  const links = [...table.querySelectorAll("a.cell")];
  const linkOf = new Map(
    links.map((link) => [`${link.dataset.line},${link.dataset.column}`, link]),
  );
  const rowAt = ([line, column]) => rows[cells[line]?.[column]] ?? null;
  const placeOf = new Map();
  cells.forEach((line, y) => {
    line.forEach((index, x) => {
      if (index !== null) placeOf.set(rows[index].sha256, [y, x]);
    });
  });
  let at = placeOf.get(rows[0].sha256);

  const viewerRoot = $("#viewer");
  const hidden = () => viewerRoot.hidden;
  const linkAt = (place) => linkOf.get(place.join(","));

  // -- cells ------------------------------------------------------------------------------

  const selection = new Selection($("#selection"), {
    rows: () => rows,
    total: () => 0, // more than the sheet shows is not chosen from here
    filter: () => "",
    changed: () => rows.forEach(dress),
    undone: () => {},
    said: () => {},
  });
  function dress(row) {
    const link = linkAt(placeOf.get(row.sha256)),
      tick = link.nextElementSibling;
    $(".stars", link).textContent = starText(row);
    $(".flags", link).textContent = row.favourite ? "♥" : "";
    const marks = [
      row.stars && `${row.stars} star${row.stars === 1 ? "" : "s"}`,
      row.favourite && "favourite",
      row.rejected && "rejected",
    ].filter(Boolean);
    const image = $("img", link);
    image.dataset.name ??= image.alt;
    image.alt = [image.dataset.name, ...marks].join(", ");
    link.classList.toggle("rejected", Boolean(row.rejected));
    link.parentElement.classList.toggle("is-chosen", selection.has(row));
    tick.setAttribute("aria-pressed", String(selection.has(row)));
  }
  function goTo(place, focus = true) {
    linkAt(at).tabIndex = -1;
    at = place;
    const link = linkAt(at);
    link.tabIndex = 0;
    if (!focus) return;
    link.focus({ preventScroll: true });
    link.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  /** The next place with a picture in a direction; null at the edge. */
  function next([line, column], [down, across]) {
    let place = [line + down, column + across];
    while (cells[place[0]] && place[1] >= 0 && place[1] < cells[0].length) {
      if (rowAt(place)) return place;
      place = [place[0] + down, place[1] + across];
    }
    return null;
  }
  const step = (direction) => () => {
    if (!hidden()) return false;
    const place = next(at, direction);
    if (place) goTo(place);
    return undefined;
  };

  // -- one of them, large -----------------------------------------------------------------

  const turn = (direction) => {
    const place = next(at, direction);
    if (place) at = place;
    return place && rowAt(place).sha256;
  };
  const viewer = new Viewer(viewerRoot, {
    keepsZoom: true,
    link: (digest) => `/look/${digest}`,
    rowOf: (digest) => rowAt(placeOf.get(digest) ?? [-1, -1]),
    peek: async (by) => {
      const place = next(at, [0, by]);
      return place && rowAt(place).sha256;
    },
    move: async (by) => turn([0, by]),
    discarded: () => location.reload(),
    close: () => {
      if (history.state?.look) history.back();
      else close();
    },
  });
  function open() {
    history.pushState({ look: true }, "");
    viewerRoot.hidden = false;
    document.body.classList.add("looking");
    viewer.show(rowAt(at).sha256);
  }
  const title = document.title;
  function close() {
    viewerRoot.hidden = true;
    document.body.classList.remove("looking");
    document.title = title;
    if (document.fullscreenElement) document.exitFullscreen();
    for (const link of links) link.tabIndex = -1;
    goTo(at);
  }
  addEventListener("popstate", () => {
    if (!hidden()) close();
  });
  const upOrDown = (by) => () => {
    if (hidden()) return false;
    const digest = turn([by, 0]);
    if (digest) viewer.show(digest);
    return undefined;
  };

  // -- what people do ---------------------------------------------------------------------

  const images = () => links.map((link) => $("img", link));
  const zoom = new Zoom(table, images, {
    needsCtrl: true,
    onShow: (scale) => {
      if (scale < 1.5) return;
      for (const image of images()) {
        const large = image.src.replace("side=384", "side=768");
        if (image.src !== large) image.src = large;
      }
    },
  });
  table.addEventListener("click", (event) => {
    const box = event.target.closest("td"),
      link = box && $("a.cell", box);
    if (!link || event.button || event.target.closest(".more")) return;
    event.preventDefault();
    goTo([Number(link.dataset.line), Number(link.dataset.column)]);
    const row = rowAt(at);
    if (event.ctrlKey || event.metaKey || event.target.closest(".tick"))
      selection.toggle(rows.indexOf(row));
    else open();
  });
  table.addEventListener("focusin", (event) => {
    const link = event.target.closest("a.cell");
    if (link) goTo([Number(link.dataset.line), Number(link.dataset.column)], false);
  });
  onChange((row) => {
    const own = placeOf.has(row.sha256) && rowAt(placeOf.get(row.sha256));
    if (!own) return;
    if (own !== row)
      for (const name of ["stars", "rejected", "favourite", "tags", "notes", "album"])
        own[name] = row[name];
    dress(own);
  });
  rows.forEach(dress);
  goTo(at, false);
  const scroller = $("#sheet");
  scroller.style.scrollPadding = `${$("thead", table).offsetHeight}px 8px 8px ${$("tbody th", table).offsetWidth}px`;

  const inSheet = (act) => () => (hidden() ? act() : false);
  bind({
    cellRight: { keys: ["ArrowRight"], label: "The cell to the right", do: step([0, 1]) },
    cellLeft: { keys: ["ArrowLeft"], label: "The cell to the left", do: step([0, -1]) },
    cellBelow: { keys: ["ArrowDown"], label: "The cell below", do: step([1, 0]) },
    cellAbove: { keys: ["ArrowUp"], label: "The cell above", do: step([-1, 0]) },
    lookAtCell: { keys: ["Enter"], label: "Look at it", do: inSheet(open) },
    zoomSheet: { keys: [" "], label: "Zoom all in and out", do: inSheet(() => zoom.toggle()) },
    zoomIn: { keys: ["+", "="], label: "Zoom all in", do: inSheet(() => zoom.by(1.5)) },
    zoomOut: { keys: ["-"], label: "Zoom all out", do: inSheet(() => zoom.by(1 / 1.5)) },
    choose: {
      keys: ["c"],
      label: "Select it, or not",
      do: () => selection.toggle(rows.indexOf(rowAt(at))),
    },
    chooseNone: {
      keys: ["Escape"],
      label: "Clear the selection",
      do: inSheet(() => {
        if (!selection.count) return false;
        selection.clear();
        return undefined;
      }),
    },
    compareNow: {
      keys: ["v"],
      label: "Compare what is selected",
      do: () => {
        if (!selection.compareLink) return false;
        location.href = selection.compareLink;
        return undefined;
      },
    },
    viewAbove: { keys: ["ArrowUp"], label: "The picture above", do: upOrDown(-1) },
    viewBelow: { keys: ["ArrowDown"], label: "The picture below", do: upOrDown(1) },
  });
  bind(
    ratingKeys(
      () => rowAt(at),
      () => {}, // it is rated in place; arrows go on
      {
        tags: (row) => viewer.askTags(row),
        many: (says, value) => hidden() && selection.act(says, value),
        undone: (last) => {
          if (last?.row && placeOf.has(last.row.sha256) && hidden())
            goTo(placeOf.get(last.row.sha256));
        },
      },
    ),
  );
  bind(viewerKeys(viewer, () => !hidden()));
}

// -- evidence ------------------------------------------------------------------------------

let listening = null;

/** Put in place what has been worked out meanwhile; pictures, places and zoom stay. */
async function renew() {
  const asked = new URLSearchParams(location.search);
  asked.set("kept", "1"); // what is there now; nothing else is begun
  const answer = await fetch(`/sheet?${asked}`, { headers: { Accept: "text/html" } });
  const told = new DOMParser().parseFromString(await answer.text(), "text/html");
  const here = [...document.querySelectorAll(".sheet .evidence")],
    there = [...told.querySelectorAll(".sheet .evidence")];
  if (here.length === there.length)
    for (const [place, one] of here.entries()) one.replaceWith(there[place]);
  put($("#evidence-told"), ...(told.querySelector("#evidence-told")?.childNodes ?? []));
  listening?.close();
  listening = null;
  $("#sheet").removeAttribute("aria-busy");
  const again = told.querySelector("#sheet")?.dataset.waiting;
  if (again) watch(again);
}
function watch(key) {
  $("#sheet").setAttribute("aria-busy", "true");
  listening = listen({ answer: () => renew().catch(() => {}) }, [key]);
}

if (table) {
  walk();
  if ($("#sheet").dataset.waiting) watch($("#sheet").dataset.waiting);
}
