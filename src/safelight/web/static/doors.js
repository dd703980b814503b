// The ways in, for an archive without pictures.
import { chooseFile } from "./dropped.js";
import { chooseFolder } from "./importing.js";
import { h, put, send } from "./page.js";

const TITLES = {
  comfyui: "ComfyUI",
  webui: "A web UI",
  "openai-images": "An images server",
};
const canRun = document.documentElement.dataset.canRun !== undefined;

function card(title, sentence, ...acts) {
  return h("article.door", {}, h("h2", {}, title), h("p", {}, sentence), ...acts);
}

function engineDoor() {
  const told = h("p.quiet-text", { role: "status" });
  const button = h("button", { type: "submit" }, "Connect");
  const field = h("input", {
    name: "url",
    required: true,
    maxlength: "500",
    spellcheck: "false",
    autocomplete: "off",
    inputmode: "url",
    "aria-label": "Address",
    placeholder: "127.0.0.1:7860",
    list: "usual-addresses",
  });
  const connect = async (event) => {
    event.preventDefault();
    button.disabled = true;
    put(told, "Asking…");
    told.className = "quiet-text";
    try {
      const engine = await send("/api/engines/connect", { url: field.value.trim() });
      put(
        told,
        `${TITLES[engine.backend] ?? "An engine"} answers. It is ${engine.name} from now on.`,
      );
      location.href = `/runs/new?${new URLSearchParams({ engine: engine.name })}`;
    } catch (error) {
      told.className = "fault";
      put(told, `${error.message[0].toUpperCase()}${error.message.slice(1)}.`);
      button.disabled = false;
      field.focus();
    }
  };
  return card(
    "My web UI or ComfyUI",
    "Draw with the models you have, and have everything written down.",
    h(
      "form.door-form",
      { onsubmit: connect },
      field,
      h(
        "datalist",
        { id: "usual-addresses" },
        h("option", { value: "127.0.0.1:7860" }, "A1111, Forge, SD.Next"),
        h("option", { value: "127.0.0.1:8188" }, "ComfyUI"),
      ),
      button,
    ),
    told,
  );
}

function demoDoor() {
  const told = h("p.quiet-text", { role: "status" });
  const button = h("button", { type: "button" }, "Draw a dozen");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const run = await send("/api/demo", {});
      put(told, `Drawing ${run.plan_size} pictures. They appear here.`);
    } catch (error) {
      told.className = "fault";
      put(told, error.message);
      button.disabled = false;
    }
  });
  return card(
    "Show me",
    "A small model is in the box: it draws in seconds, without a network.",
    button,
    told,
  );
}

/** The three doors, as far as who asks may go through them. */
export function doors() {
  return h(
    "div.doors",
    {},
    card(
      "My pictures",
      "Read the folder where your tool keeps them. Nothing of them is changed.",
      h("button", { type: "button", onclick: chooseFolder }, "Choose a folder"),
      h(
        "p.quiet-text",
        {},
        "Or drop a picture anywhere to see its settings. ",
        h("button.link", { type: "button", onclick: chooseFile }, "Choose a file"),
      ),
    ),
    canRun && engineDoor(),
    canRun && demoDoor(),
  );
}
