// What every view shares: building DOM without markup, asking the server, notices, switches.
export const $ = (selector, within = document) => within.querySelector(selector);

/** Make an element; text always goes in as text, so that no prompt can become markup. */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...real(children));
  return element;
}
const real = (children) =>
  children.flat(2).filter((child) => child !== null && child !== undefined && child !== false);

/** Put *children* in place of what is in *element*; null and false are nothing. */
export const put = (element, ...children) => element.replaceChildren(...real(children));

const SHAPES = {
  zoom: "M8.5 3.5a5 5 0 1 1 0 10a5 5 0 0 1 0-10zM12.2 12.2l4.3 4.3M8.5 6.5v4M6.5 8.5h4",
  full: "M3.5 7.5v-4h4M12.5 3.5h4v4M16.5 12.5v4h-4M7.5 16.5h-4v-4",
  info: "M10 9v5.2M10 5.9v.4M10 2.8a7.2 7.2 0 1 1 0 14.4a7.2 7.2 0 0 1 0-14.4z",
  back: "M16 10H4M9 5l-5 5l5 5",
  previous: "M12.5 4l-6 6l6 6",
  next: "M7.5 4l6 6l-6 6",
  copy: "M7.5 7.5h8v8h-8zM12.5 7.5v-3h-8v8h3",
  undo: "M7.5 4.5l-4 4l4 4M3.5 8.5h8a4.5 4.5 0 0 1 0 9h-3",
  goOn: "M4 5l5 5l-5 5M10.5 5l5 5l-5 5",
  tag: "M3.5 3.5h6.2l6.8 6.8l-6.2 6.2l-6.8-6.8zM7 7v.1",
};
/** A line drawing that looks the same in every font. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg"),
    path = document.createElementNS(space, "path");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

export const first = () => JSON.parse($("#first").textContent);

export const isOwner = document.documentElement.dataset.role === "owner";

const AWAY = {
  0: ["safelight is not running.", "Start it again with: safelight serve"],
  401: ["You are signed out.", "Open the link that safelight serve writes, or sign in again."],
};
let away = null;

/** Say over every view why nothing comes, and what is safe; or that it came again. */
export function showAway(status = away) {
  away = status;
  const line = $("#away");
  if (!line) return;
  line.hidden = away === null;
  if (away === null) return;
  const left = Number($("#saving")?.dataset.waiting ?? 0);
  const safe = left ? `Your ${left} rating${left === 1 ? " is" : "s are"} kept here.` : "";
  const [what, todo] = AWAY[away];
  line.textContent = [what, safe, todo].filter(Boolean).join(" ");
}

/** Whether something went wrong on the way there, and not with what was asked. */
export const isAway = (error) => error.status in AWAY;

function gone(status) {
  showAway(status);
  return Object.assign(new Error(AWAY[status].join(" ")), { status });
}

export async function ask(path, options = {}) {
  const answer = await fetch(path, options).catch((error) => {
    throw error.name === "AbortError" ? error : gone(0);
  });
  if (answer.status === 401) throw gone(401);
  showAway(null);
  const body = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw Object.assign(new Error(body.error), { status: answer.status, body });
  return body;
}

export const send = (path, body, method = "POST") =>
  ask(path, {
    method,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

/** Tell *text* for a while; what is told already without anything to press is not told twice. */
export function notice(text, act = null) {
  const told = act ? [] : [...$("#notices").children];
  for (const same of told.filter((one) => one.textContent === text)) same.remove();
  const line = h(
    "p",
    {},
    text,
    act &&
      h(
        "button",
        {
          type: "button",
          onclick: () => {
            act.do();
            line.remove();
          },
        },
        act.label,
      ),
  );
  $("#notices").append(line);
  setTimeout(() => line.remove(), 6000);
}

export const keep = (name, value) => {
  try {
    localStorage.setItem(name, value);
  } catch {
    /* private window */
  }
};
/** Seconds as people say them. */
export const duration = (seconds) =>
  seconds < 90
    ? `${Math.max(1, Math.round(seconds))} s`
    : seconds < 5400
      ? `${Math.round(seconds / 60)} min`
      : `${(seconds / 3600).toFixed(1)} h`;

export const kept = (name, otherwise = "") => {
  try {
    return localStorage.getItem(name) ?? otherwise;
  } catch {
    return otherwise;
  }
};
export const archive = document.documentElement.dataset.archive;
export const count = (number) => number.toLocaleString("en");

export function toggleBlur() {
  const on = document.documentElement.classList.toggle("veil");
  keep("safelight.blur", on ? "1" : "0");
  $("#blur")?.setAttribute("aria-pressed", String(on));
}

$("#blur")?.setAttribute(
  "aria-pressed",
  String(document.documentElement.classList.contains("veil")),
);
$("#blur")?.addEventListener("click", toggleBlur);
$("#theme")?.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  keep("safelight.theme", root.dataset.theme);
});

const NO_PLACE_MS = 15_000;

/** Listen to the server while the page is seen; a hidden tab must not hold a connection.
 *
 * *keys* are questions whose answers are waited for: `answer` tells of each when it is there.
 */
export function listen(handlers, keys = []) {
  let source = null,
    over = false;
  const stop = () => {
    source?.close();
    source = null;
  };
  const update = () => {
    if (document.hidden || over) {
      stop();
      return;
    }
    if (source) return;
    const asked = new URLSearchParams(keys.map((key) => ["wait", key])).toString();
    source = new EventSource(asked ? `/events?${asked}` : "/events");
    source.addEventListener("open", () => showAway(null));
    source.addEventListener("error", () => ask("/api/session").catch(() => {})); // says why
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
    source.addEventListener("error", (event) => {
      // The browser comes again by itself, but not when there was no place for this page.
      if (event.target !== source || source.readyState !== EventSource.CLOSED) return;
      source = null;
      setTimeout(update, NO_PLACE_MS);
    });
  };
  document.addEventListener("visibilitychange", update);
  addEventListener("pagehide", stop);
  addEventListener("pageshow", update);
  update();
  return {
    close: () => {
      over = true;
      stop();
    },
  };
}
