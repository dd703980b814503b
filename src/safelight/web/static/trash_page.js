// What is in the trash by date: restore it, or delete it for good.
import { $, count, first, h, notice, put, send } from "./page.js";
import { confirmed, filesWords, inTrash, sizeWords } from "./trash.js";

function show(days) {
  const size = days.reduce((sum, day) => sum + day.size, 0);
  const files = days.reduce((sum, day) => sum + day.files, 0);
  put(
    $("#days"),
    days.length === 0 && h("p", {}, "The trash is empty."),
    days.map((day) =>
      h(
        "section.trash-day",
        { "aria-label": day.day },
        h("h2", {}, day.day),
        h(
          "p.trash-line",
          {},
          h("span", {}, `${filesWords(day.files)}, ${sizeWords(day.size)}`),
          h(
            "button.quiet",
            { type: "button", onclick: () => restore(day.day, day.files) },
            "Restore",
          ),
          h(
            "button.quiet",
            { type: "button", onclick: () => empty(day.day, day.files, day.size) },
            "Delete for good…",
          ),
        ),
        h(
          "div.kins",
          {},
          day.shown.map((digest) => {
            const image = h("img.veiled", { src: `/thumbnails/${digest}?side=192`, alt: "" });
            image.addEventListener("error", () => image.remove());
            return image;
          }),
        ),
      ),
    ),
    days.length > 1 &&
      h(
        "p.trash-line",
        {},
        h("span", {}, `All: ${filesWords(files)}, ${sizeWords(size)}`),
        h("button.quiet", { type: "button", onclick: () => restore("", files) }, "Restore all"),
        h(
          "button.quiet",
          { type: "button", onclick: () => empty("", files, size) },
          "Empty the trash…",
        ),
      ),
  );
}

async function act(path, body, done) {
  try {
    const answer = await send(path, body);
    const stayed = answer.left_count
      ? ` ${count(answer.left_count)} stayed: ${answer.left[0].told}.`
      : "";
    notice(`${filesWords(answer.files)} ${done}.${stayed}`);
  } catch (error) {
    notice(error.message);
  }
  show((await inTrash()).days);
}

const restore = (which, files) => act("/api/trash/restore", { which, files }, "restored");

async function empty(which, files, size) {
  const lines = [
    h("p", {}, `${filesWords(files)}, ${sizeWords(size)}. They cannot be restored then.`),
    h("p.quiet-text", {}, "Ratings and records stay."),
  ];
  if (await confirmed("Delete for good?", lines, `Delete ${filesWords(files)}`))
    act("/api/trash/empty", { which, files }, "deleted for good");
}

show(first().days);
