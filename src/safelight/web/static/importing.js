// Folders of this machine, chosen and counted before they are imported; and how imports are doing.
import { $, ask, count, h, keep, kept, notice, put, send } from "./page.js";

const plural = (number, one) => `${count(number)} ${one}${number === 1 ? "" : "s"}`;
const shortPath = (path) => path.split(/[\\/]/).filter(Boolean).slice(-2).join("/") || path;
const pictures = (found) =>
  `${plural(found.pictures, "picture")}${found.is_whole ? "" : " or more"}`;
const kinds = (found) =>
  Object.entries(found)
    .map(([kind, number]) => `${count(number)} ${kind}`)
    .join(", ");

// -- choosing ------------------------------------------------------------------------------

/** Let a folder be chosen and its import begin. */
export function chooseFolder() {
  const usual = h("div.usual", {}),
    list = h("ul.folder-list", { "aria-label": "Folders" }),
    told = h("div.folder-told", { role: "status" }),
    fault = h("p.fault", { role: "alert" }),
    field = h("input", {
      name: "folder",
      "aria-label": "Folder",
      spellcheck: "false",
      autocomplete: "off",
      placeholder: "/a/folder",
    });
  const begin = h("button", { type: "button", disabled: true }, "Import");
  let here = "",
    found = null,
    asked = 0;
  const known = new Map();

  async function counted(path) {
    if (!known.has(path))
      known.set(path, await ask(`/api/machine/count?${new URLSearchParams({ path })}`));
    return known.get(path);
  }

  const say = (error) => put(fault, error.message);

  /** Nothing is counted of what the field says now, so nothing of it can be imported yet. */
  function uncounted() {
    found = null;
    begin.disabled = true;
    begin.textContent = "Import";
    delete begin.dataset.sure;
    put(told);
  }

  field.addEventListener("input", () => {
    asked += 1;
    uncounted();
    put(told, h("p", {}, "Press Open to count what is in it."));
  });

  async function open(path) {
    const mine = ++asked;
    uncounted();
    put(fault);
    let folder;
    try {
      folder = await ask(`/api/machine/folder?${new URLSearchParams({ path })}`);
    } catch (error) {
      if (mine === asked) say(error);
      return;
    }
    if (mine !== asked) return;
    here = folder.path;
    field.value = here;
    put(
      list,
      folder.parent &&
        h("li", {}, h("button", { type: "button", onclick: () => open(folder.parent) }, "↑ up")),
      folder.folders.map((one) =>
        h("li", {}, h("button", { type: "button", onclick: () => open(one.path) }, one.name)),
      ),
      folder.more ? h("li.quiet-text", {}, `and ${count(folder.more)} more`) : null,
      folder.folders.length ? null : h("li.quiet-text", {}, "No folders in it."),
    );
    list.scrollTop = 0;
    countHere(mine);
  }

  async function countHere(mine) {
    put(told, h("p", {}, "Counting…"));
    let all;
    try {
      all = await counted(here);
    } catch (error) {
      if (mine === asked) {
        put(told);
        say(error);
      }
      return;
    }
    if (mine !== asked) return;
    found = all;
    const others = kinds(found.other_kinds);
    put(
      told,
      h("p", {}, h("b", {}, pictures(found)), " in it and below it."),
      others ? h("p.quiet-text", {}, `Not read: ${others}.`) : null,
      found.fault_count
        ? h(
            "p.quiet-text",
            {},
            `${plural(found.fault_count, "place")} cannot be looked at: `,
            found.faults.map(([path, why]) => `${shortPath(path)} (${why})`).join(", "),
          )
        : null,
    );
    begin.disabled = !found.pictures;
    begin.textContent = found.pictures ? `Import ${pictures(found)}` : "No pictures to import";
  }

  async function start() {
    begin.disabled = true;
    try {
      const answer = await send("/api/imports", {
        folder: here,
        yes: begin.dataset.sure === here,
        expected: found?.is_whole ? found.pictures : 0,
      });
      if (answer.asks) {
        put(told, h("p", {}, answer.asks));
        begin.dataset.sure = here;
        begin.textContent = "Yes, import";
        begin.disabled = false;
        begin.focus();
        return;
      }
      dialog.close();
      if (!$("#imports")) location.href = "/imports";
    } catch (error) {
      say(error);
      begin.disabled = false;
    }
  }

  begin.addEventListener("click", start);
  const form = h(
    "form.folder-field",
    {
      onsubmit: (event) => {
        event.preventDefault();
        open(field.value.trim());
      },
    },
    field,
    h("button.quiet", { type: "submit" }, "Open"),
  );
  const dialog = h(
    "dialog.choose-folder",
    { "aria-labelledby": "choose-folder" },
    h("h2", { id: "choose-folder", tabindex: "-1", autofocus: true }, "Import a folder"),
    h(
      "p.quiet-text",
      {},
      "Pictures are read where they lie, with all folders below; nothing of them is changed.",
    ),
    usual,
    form,
    list,
    fault,
    told,
    h(
      "p.dialog-acts",
      {},
      begin,
      h("button.quiet", { type: "button", onclick: () => dialog.close() }, "Cancel"),
    ),
  );
  dialog.addEventListener("close", () => {
    asked += 1;
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();

  offerUsual().catch(say);

  /** Offer the folders of known tools, with their counts; the first with pictures is opened. */
  async function offerUsual() {
    const places = await ask("/api/machine/places");
    const counts = places.usual.map(() => h("span.quiet-text", {}, "…"));
    put(
      usual,
      places.usual.map((one, at) =>
        h(
          "button.quiet",
          { type: "button", title: one.path, onclick: () => open(one.path) },
          h("b", {}, one.name),
          counts[at],
        ),
      ),
    );
    let opened = false;
    for (const [at, one] of places.usual.entries()) {
      if (!dialog.isConnected) return;
      const found = await counted(one.path).catch(() => null);
      put(counts[at], found ? pictures(found) : "cannot be looked into");
      if (found?.pictures && !opened && !asked) {
        opened = true;
        open(one.path);
      }
    }
    if (!opened && !asked) open(places.home);
  }
}

// -- how they are doing --------------------------------------------------------------------

const DISMISSED = "safelight.imports-seen";
const SAYS = {
  waiting: "Waits for the import before it",
  running: "Reading",
  stopping: "Stopping: what was read is being kept",
  stopped: "Stopped. What was read is kept; import the folder again to go on",
  failed: "Failed",
};

function readers(summary) {
  const outcomes = { full: 0, partly: 0, none: 0 };
  const tools = Object.entries(summary.read ?? {})
    .map(([tool, told]) => {
      for (const [name, number] of Object.entries(told)) outcomes[name] += number;
      return [tool || "nobody says", Object.values(told).reduce((a, b) => a + b, 0)];
    })
    .sort((a, b) => b[1] - a[1]);
  return { outcomes, tools };
}

function faults(summary) {
  if (!summary.fault_count) return null;
  const listed = summary.faults ?? [];
  const more = summary.fault_count - listed.length;
  return h(
    "details",
    {},
    h("summary", {}, `${count(summary.fault_count)} could not be read`),
    h(
      "ul.reasons",
      {},
      listed.map((one) => h("li", {}, `${one.path}: ${one.told}`)),
      more > 0 ? h("li.quiet-text", {}, `and ${count(more)} more`) : null,
    ),
  );
}

function found(summary) {
  const { outcomes, tools } = readers(summary);
  const said = [
    [summary.imported, "new"],
    [summary.unchanged + summary.known, "here already"],
    [summary.superseded, "read better"],
    [summary.gone, "no more there"],
    [summary.ratings, "ratings found"],
  ]
    .filter(([number]) => number)
    .map(([number, what]) => `${count(number)} ${what}`);
  return [
    h("p", {}, said.length ? `${said.join(", ")}.` : "No picture that can be read is in it."),
    tools.length
      ? h(
          "p.quiet-text",
          {},
          `By tool: ${tools
            .slice(0, 6)
            .map(([tool, number]) => `${count(number)} ${tool}`)
            .join(", ")}${tools.length > 6 ? ` and ${tools.length - 6} more tools` : ""}. `,
          `Settings: ${count(outcomes.full)} whole, ${count(outcomes.partly)} in part, ${count(outcomes.none)} not told.`,
        )
      : null,
  ];
}

function going(one) {
  const s = one.summary;
  const line = [
    `${count(s.files ?? 0)} seen`,
    `${count((s.opened ?? 0) - (s.fault_count ?? 0))} read`,
    s.unchanged ? `${count(s.unchanged)} here already` : "",
  ].filter(Boolean);
  return [
    h("p", {}, `${SAYS[one.status]}${one.status === "running" ? `: ${line.join(", ")}` : ""}.`),
    one.status === "running"
      ? h("progress", {
          "aria-label": "How far the import is",
          ...(one.expected
            ? { max: String(one.expected), value: String(Math.min(s.files ?? 0, one.expected)) }
            : {}),
        })
      : null,
  ];
}

function card(one, redraw) {
  const name = one.folders.map(shortPath).join(", ");
  const act = one.is_open
    ? h(
        "button.quiet",
        {
          type: "button",
          disabled: one.status === "stopping",
          "aria-label": `Cancel the import of ${name}`,
          onclick: () =>
            send("/api/imports/stop", { number: one.number }).catch((error) =>
              notice(error.message),
            ),
        },
        "Cancel",
      )
    : h(
        "button.quiet",
        {
          type: "button",
          "aria-label": `Put the import of ${name} away`,
          onclick: () => {
            keep(DISMISSED, JSON.stringify([...seen(), mark(one)].slice(-40)));
            redraw();
          },
        },
        "✕",
      );
  const heading = one.status === "done" ? `${name} is in` : name;
  return h(
    `article.import-${one.status}`,
    { "aria-label": name },
    h(
      "div",
      {},
      h("h3", { title: one.folders.join(", ") }, heading),
      one.is_open ? going(one) : null,
      one.status === "stopped" || one.status === "failed"
        ? h("p", {}, `${one.error || SAYS[one.status]}.`)
        : null,
      one.status === "done" || (one.status === "stopped" && one.summary.imported)
        ? found(one.summary)
        : null,
      faults(one.summary),
      one.status === "done"
        ? h("p", {}, h("a.button", { href: "/contents" }, "What is in here"))
        : null,
    ),
    act,
  );
}

const mark = (one) => `${one.number} ${one.asked_at}`;
const seen = () => JSON.parse(kept(DISMISSED, "[]"));

/** Show imports that go on, and those that ended and were not put away. */
export function showImports(states) {
  const place = $("#imports");
  if (!place) return;
  const away = new Set(seen());
  const shown = states.filter((one) => one.is_open || !away.has(mark(one))).slice(0, 3);
  const open = new Set(
    [...place.querySelectorAll("details[open]")].map((box) =>
      box.closest("article").getAttribute("aria-label"),
    ),
  );
  const focused = document.activeElement?.getAttribute?.("aria-label");
  place.hidden = !shown.length;
  put(
    place,
    shown.map((one) => card(one, () => showImports(states))),
  );
  for (const article of place.children)
    if (open.has(article.getAttribute("aria-label")))
      for (const box of article.querySelectorAll("details")) box.open = true;
  if (focused && document.activeElement === document.body)
    [...place.querySelectorAll("button")]
      .find((button) => button.getAttribute("aria-label") === focused)
      ?.focus();
}

$("#import-pictures")?.addEventListener("click", chooseFolder);
