// A picture in full: opened from a button on its tile, with those beside it one key away.

import { make } from "./elements.js";
import { watchSwipes } from "./viewer-swipe.js";
import { showColumns } from "./viewer-columns.js";
import { partButton } from "./viewer-part.js";
import { resetZoom, watchZoom } from "./viewer-zoom.js";

const button = (className, label, text, onclick) =>
  make("button", { type: "button", className: `imgsim-view-${className}`, onclick, ariaLabel: label }, text);

const view = {
  picture: make("img", { alt: "" }),
  place: make("p", { className: "imgsim-view-place imgsim-quiet" }),
  note: make("p", { className: "imgsim-quiet" }, "The full picture cannot be had here: this is its thumbnail."),
  name: make("h2", { tabIndex: -1 }),
  similar: make("a", {}, "Similar images"),
  row: make("a", {}, "Row"),
  columns: make("dl"),
  said: make("p", { className: "imgsim-spoken", role: "status" }),
  before: button("before", "Previous picture", "←", () => go(-1)),
  after: button("after", "Next picture", "→", () => go(1)),
};
// Focusable, so that a picture in its full size can be scrolled with the keyboard.
view.stage = make("div", { className: "imgsim-view-stage", tabIndex: 0, role: "group" }, view.picture);
view.zoom = button("zoom", "Full size", "+");
view.part = partButton(view, () => resetZoom(view));
const dialog = make(
  "dialog",
  { className: "imgsim-view" },
  make("div", { className: "imgsim-view-shown" }, view.stage, view.before, view.after, view.zoom),
  make(
    "div",
    { className: "imgsim-view-facts", tabIndex: 0, role: "group", ariaLabel: "About this picture" },
    button("close", "Close", "×", () => dialog.close()),
    view.name,
    view.place,
    view.note,
    make("p", { className: "imgsim-view-links" }, view.similar, " · ", view.row),
    view.part.button,
    view.columns,
  ),
  view.said,
);
view.name.id = "imgsim-view-name";
dialog.setAttribute("aria-labelledby", view.name.id);

let all = []; // the buttons of the pictures that one can go through
let shown;

function show(opener) {
  shown = opener;
  const { name, large, thumbnail, similar, row } = opener.dataset;
  resetZoom(view);
  view.part.stop();
  const place = `${all.indexOf(opener) + 1} of ${all.length}`;
  view.name.textContent = name;
  view.place.textContent = place;
  view.said.textContent = `${name}, ${place}`;
  view.stage.ariaLabel = `Picture ${name}`;
  view.similar.href = similar;
  view.row.href = row;
  view.note.hidden = Boolean(large);
  view.picture.alt = name;
  view.picture.onerror = () => {
    view.picture.onerror = null;
    view.note.hidden = false;
    if (thumbnail) view.picture.src = thumbnail;
  };
  view.picture.removeAttribute("src"); // the one before goes at once
  if (large || thumbnail) view.picture.src = large || thumbnail;
  view.before.disabled = opener === all[0];
  view.after.disabled = opener === all.at(-1);
  showColumns(view.columns, row);
}

function go(step) {
  const next = all[all.indexOf(shown) + step];
  if (next) show(next);
}

function open(opener) {
  all = [...document.querySelectorAll(".imgsim-open")].filter((each) => !each.closest("[hidden]"));
  show(opener);
  dialog.showModal();
  view.stage.focus();
}

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "+" || event.key === "-") view.zoom.click();
  else if (event.key === "ArrowLeft" && !isZoomed()) go(-1);
  else if (event.key === "ArrowRight" && !isZoomed()) go(1);
  else return;
  event.preventDefault();
}

// In the full size, arrows scroll the picture.
const isZoomed = () => view.stage.classList.contains("imgsim-zoomed");

/** Lets the buttons on tiles open the viewer, also on tiles that come later. */
export function watchOpeners() {
  document.documentElement.classList.add("imgsim-scripted");
  document.body.append(dialog);
  watchZoom(view);
  watchSwipes(view.stage, go);
  dialog.addEventListener("keydown", onKey);
  dialog.addEventListener("close", () => shown.focus());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.addEventListener("click", (event) => {
    const opener = event.target.closest(".imgsim-open");
    if (opener) open(opener);
  });
}
