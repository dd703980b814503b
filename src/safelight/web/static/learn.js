// What is being worked out is put in place when it is there; the rest of the page stays as it is.
import "./plain.js";
import { $, listen } from "./page.js";

let listening = null;

async function renew() {
  const shown = $("#learned");
  const asked = new URLSearchParams(location.search);
  asked.set("kept", "1"); // what is there now; nothing else is begun
  const answer = await fetch(`${location.pathname}?${asked}`, { headers: { Accept: "text/html" } });
  const told = new DOMParser().parseFromString(await answer.text(), "text/html");
  const place = told.querySelector("#learned") ?? told.querySelector("main");
  shown.replaceChildren(...place.childNodes);
  delete shown.dataset.waiting;
  shown.removeAttribute("aria-busy");
  listening?.close();
  listening = null;
  if (place.dataset.waiting) watch(place.dataset.waiting);
}

function watch(key) {
  const shown = $("#learned");
  shown.dataset.waiting = key;
  shown.setAttribute("aria-busy", "true");
  // When the server is away the stream comes back by itself, and tells again.
  listening = listen({ answer: () => renew().catch(() => {}) }, [key]);
}

if ($("#learned")?.dataset.waiting) watch($("#learned").dataset.waiting);
