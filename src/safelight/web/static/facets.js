// The facets: how what was found parts, eight values of each, and whole lists that search themselves.

import { $, ask, count, h, keep, kept, put } from "./page.js";

const FIRST = 8;
const LABELS = {
  rating: "Stars",
  favourite: "Favourite",
  album: "Album",
  tag: "Tags",
  model: "Model",
  lora: "LoRA",
  sampler: "Sampler",
  scheduler: "Scheduler",
  steps: "Steps",
  cfg_scale: "CFG",
  size: "Size",
  date: "Day",
  folder: "Folder",
  backend: "Drawn with",
  stage: "Stage",
  status: "Ended",
  outcome: "How well read",
};
const ORDER = Object.keys(LABELS);
// What an engine or another tool calls its own settings comes last, as it is spelled there.
const placeOf = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
const WORDS = {
  outcome: { full: "all of it", partly: "partly", none: "nothing" },
};

/** A long name with its middle left out: versions stand at the end. */
export function shortened(text, most = 28) {
  if (text.length <= most) return text;
  const end = Math.floor((most - 1) * 0.55);
  return `${text.slice(0, most - 1 - end)}…${text.slice(-end)}`;
}

const ENDING = /\.(safetensors|ckpt|pth?|gguf|sft|bin)$/i;
const TAIL = 9;
/** A name as two parts, of which only the first gives way where there is no room. */
function cut(name) {
  const text = name.replace(ENDING, "");
  if (text.length < 2 * TAIL) return [h("span.head", {}, text)];
  return [h("span.head", {}, text.slice(0, -TAIL)), h("span.tail", {}, text.slice(-TAIL))];
}

function nameOf(facet, value) {
  if (facet === "rating" && /^\d\+?$/.test(value))
    return `${"★".repeat(Number(value[0])) || "no star"}${value[1] ? " and more" : ""}`;
  return WORDS[facet]?.[value] ?? (value || "none");
}
const spoken = (facet, value) =>
  facet === "rating" && /^\d\+?$/.test(value)
    ? `${value[0]} star${value === "1" ? "" : "s"}${value[1] ? " and more" : ""}`
    : null;

export class Facets {
  /** *host* has `wanted`, and `go(change)` to narrow or widen. */
  constructor(root, host) {
    this.root = root;
    this.host = host;
    this.open = new Set(
      JSON.parse(kept("safelight.facets", '["rating","tag","model","lora","sampler","date"]')),
    );
    this.listed = new Map(); // facet whose whole list is shown -> what is looked for in it
    this.weighed = new Set(); // LoRAs whose weights are shown
  }

  show(answer) {
    const focused = this.root.contains(document.activeElement)
      ? document.activeElement.dataset.clause
      : null;
    const facets = answer.facets
      .filter((one) => one.values.some((value) => value.value))
      .sort((a, b) => placeOf(a.name) - placeOf(b.name));
    put(
      this.root,
      facets.map((facet) => this.box(facet)),
      facets.length ? "" : h("p.quiet-text", {}, "There is nothing to tell apart."),
    );
    if (focused)
      [...this.root.querySelectorAll("[data-clause]")]
        .find((one) => one.dataset.clause === focused)
        ?.focus({ preventScroll: true });
  }

  box(facet) {
    const values = facet.values.filter((value) => value.value || facet.name !== "favourite");
    const on = values.some((value) => value.on || value.parts?.some((part) => part.on));
    const inside = h("div");
    const box = h(
      "details",
      { open: this.open.has(facet.name) || on, "data-facet": facet.name },
      h("summary", {}, LABELS[facet.name] ?? facet.name.replace(/^extra\./, "")),
      inside,
    );
    box.addEventListener("toggle", () => {
      if (box.open) this.open.add(facet.name);
      else this.open.delete(facet.name);
      keep("safelight.facets", JSON.stringify([...this.open]));
    });
    if (this.listed.has(facet.name)) this.list(facet.name, inside, values);
    else this.first(facet, inside, values);
    return box;
  }

  first(facet, inside, values) {
    const few = values.filter((value, place) => place < FIRST || value.on);
    put(
      inside,
      h(
        few.some((value) => value.parts?.length > 1) ? "ul.with-weights" : "ul",
        {},
        few.map((value) => this.item(facet.name, value)),
      ),
      (few.length < values.length || facet.more) &&
        h(
          "button.quiet.more-values",
          {
            type: "button",
            "aria-label": `More of ${LABELS[facet.name] ?? facet.name}`,
            onclick: () => {
              this.listed.set(facet.name, "");
              this.list(facet.name, inside, values, true);
            },
          },
          "More…",
        ),
    );
  }

  /** Show every value, and a field that looks for one. */
  list(name, inside, values, asked = false) {
    const label = LABELS[name] ?? name;
    const rows = h("ul.whole");
    const field = h("input", {
      type: "search",
      value: this.listed.get(name),
      placeholder: "Find one",
      "aria-label": `Find in ${label}`,
      autocomplete: "off",
      oninput: () => {
        this.listed.set(name, field.value);
        narrow();
      },
      onkeydown: (event) => {
        if (event.key === "ArrowDown") {
          event.preventDefault();
          rows.querySelector("li:not([hidden]) a")?.focus();
        }
      },
    });
    const narrow = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const item of rows.children)
        item.hidden = !words.every((word) => item.dataset.name.includes(word));
    };
    const fill = (all) => {
      put(
        rows,
        all.map((value) => this.item(name, value)),
      );
      narrow();
    };
    fill(values);
    put(
      inside,
      field,
      rows,
      h(
        "button.quiet.more-values",
        {
          type: "button",
          onclick: () => {
            this.listed.delete(name);
            this.first({ name, more: true }, inside, values);
          },
        },
        "Fewer",
      ),
    );
    if (asked) field.focus();
    const query = new URLSearchParams({ q: this.host.wanted.q, name });
    ask(`/api/facets?${query}`)
      .then((answer) => rows.isConnected && fill(answer.facets[0]?.values ?? []))
      .catch(() => {});
  }

  item(name, value) {
    const shown = nameOf(name, value.value);
    const parts = value.parts ?? [];
    const weights = h("ul.weights", { hidden: !this.showsWeights(value) });
    put(
      weights,
      parts.map((part) => h("li", {}, this.link(name, part, part.value))),
    );
    return h(
      "li",
      { "data-name": shown.toLowerCase() },
      h(
        "div.value",
        {},
        this.link(name, value, shown),
        parts.length > 1 &&
          h(
            "button.quiet.weigh",
            {
              type: "button",
              "aria-expanded": String(!weights.hidden),
              "aria-label": `Weights of ${value.value}`,
              title: "Weights",
              onclick: (event) => {
                weights.hidden = !weights.hidden;
                event.currentTarget.setAttribute("aria-expanded", String(!weights.hidden));
                if (weights.hidden) this.weighed.delete(value.value);
                else this.weighed.add(value.value);
              },
            },
            "▾",
          ),
      ),
      parts.length > 1 && weights,
    );
  }

  showsWeights(value) {
    return this.weighed.has(value.value) || Boolean(value.parts?.some((part) => part.on));
  }

  link(name, value, shown) {
    const { wanted } = this.host,
      said = spoken(name, value.value);
    return h(
      "a",
      {
        href: `/?${new URLSearchParams({ ...wanted, q: value.q })}`,
        "aria-current": value.on ? "true" : null,
        "data-clause": value.clause,
        title: value.clause,
        onclick: (event) => {
          if (event.ctrlKey || event.metaKey) return;
          event.preventDefault();
          this.host.go({ q: value.q });
        },
      },
      h(
        "span.name",
        {},
        said ? h("span", { "aria-hidden": "true" }, shown) : cut(shown),
        said && h("span.hidden", {}, said),
      ),
      h("span.n", {}, count(value.count)),
    );
  }
}

/** Close the drawer of facets, which a phone has, by a tap beside it or Escape. */
export function drawer(toggle) {
  const set = (on) => {
    document.body.classList.toggle("with-facets", on);
    toggle.setAttribute("aria-expanded", String(on));
  };
  toggle.addEventListener("click", () => set(!document.body.classList.contains("with-facets")));
  addEventListener(
    "click",
    (event) => {
      if (!document.body.classList.contains("with-facets")) return;
      if (event.target.closest("#facets, #facets-toggle") || !event.target.isConnected) return;
      event.preventDefault();
      event.stopPropagation();
      set(false);
    },
    true,
  );
  $("#facets").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !document.body.classList.contains("with-facets")) return;
    set(false);
    toggle.focus();
  });
}
