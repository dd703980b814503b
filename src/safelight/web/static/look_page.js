// The page of one picture, reached by its address.

import { bind } from "./keys.js";
import { $, ask, first } from "./page.js";
import { goesOn, ratingKeys } from "./ratings.js";
import { Viewer, viewerKeys } from "./viewer.js";

const { picture, around, wanted } = first();
let near = around;
const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value)).toString();
const link = (digest) => `/look/${digest}${query ? `?${query}` : ""}`;
const viewer = new Viewer($("#viewer"), {
  link,
  discarded: () => {}, // It stays here, with the way back: elsewhere that would be gone.
  close: () => {
    location.href = `/${query ? `?${query}` : ""}`;
  },
  rated: () => {
    if (goesOn() && near.next) viewer.move(1);
  },
  peek: async (step) => (step > 0 ? near.next : near.previous),
  move: async (step) => {
    const digest = step > 0 ? near.next : near.previous;
    if (!digest) return null;
    history.replaceState(null, "", link(digest));
    const asked = ask(`/api/pictures/${digest}?around&${query}`).then((answer) => {
      near = answer.around;
    });
    await asked;
    return digest;
  },
});
bind(
  ratingKeys(
    () => viewer.ratable(),
    () => viewer.host.rated(),
    { tags: () => viewer.askTags(), undone: () => {} },
  ),
);
bind(viewerKeys(viewer, () => true));
viewer.show(picture.sha256, picture);
