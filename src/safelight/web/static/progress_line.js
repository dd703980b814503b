// How far something is that takes long, in a line that stays as long as it goes on.
import { $, ask, h } from "./page.js";

const FIRST_MS = 400,
  NEXT_MS = 300;

/** A line among the notices; *act*, {label, do}, is a button in it. */
function lineOf(act) {
  const words = h("span");
  const line = h(
    "p.progress-line",
    {},
    words,
    act && h("button", { type: "button", onclick: act.do }, act.label),
  );
  return { line, words };
}

/**
 * Show how far it is until *work* has ended.
 *
 * *path* is asked every few tenths of a second, and *told* makes words of the answer; no words, no
 * line. What has ended soon shows none. Resolves or fails as *work* does.
 */
export async function followed(work, path, told, act = null) {
  const { line, words } = lineOf(act);
  let going = true;
  const look = async () => {
    if (!going) return;
    const answer = await ask(path).catch(() => null);
    const text = answer && going ? told(answer) : "";
    words.textContent = text;
    if (text && !line.isConnected) $("#notices").append(line);
    if (!text) line.remove();
    if (going) setTimeout(look, NEXT_MS);
  };
  setTimeout(look, FIRST_MS);
  try {
    return await work;
  } finally {
    going = false;
    line.remove();
  }
}
