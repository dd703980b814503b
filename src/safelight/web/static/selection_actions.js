// What can be done with chosen pictures, beside what the bar itself offers: one list, in order.
//
// An action: {name, label, title, kind, ownersOnly, most, do(chosen)}. *chosen* is what is chosen at that
// moment: {count, rows} of pictures that are ticked, or {count, q, snapshot} of all that a filter
// finds, whose `rows` is null. *do* may return a promise; its `{clear: true}` clears the choice.
const actions = [];

export function addAction(action) {
  actions.push({ title: "", kind: "quiet", ownersOnly: false, most: Infinity, ...action });
}
export const selectionActions = () => actions;
