// The column that frames are coloured by, and what each colour means. A value that is clicked
// stands out: the others are dimmed.

import { find, make } from "./elements.js";
import { framed, imagesUrl, remember, state } from "./map-address.js";
import { say } from "./map-page.js";
import { attempt, fetchJson, latest } from "./map-requests.js";
import { drawTiles } from "./map-tiles.js";
import { loadView } from "./map-view.js";

const MANY = 12; // more values than this can be searched
const NARROW = 640; // pixels; on a narrower page the legend is folded at first

const select = find("colour").querySelector("select");
const legend = find("legend");
const list = legend.querySelector("ul");
const search = legend.querySelector("input");
const clear = legend.querySelector("button");
const newSignal = latest();

select.addEventListener("change", () => {
  state.color = select.value || null;
  state.value = null;
  redraw();
  legend.open = innerWidth > NARROW;
  showLegend();
});

function redraw() {
  drawTiles();
  loadView();
  remember();
}

/** Shows the legend of the chosen column, or none. */
export async function showLegend() {
  const signal = newSignal();
  select.value = state.color ?? "";
  if (state.color === null) {
    legend.hidden = true;
    return;
  }
  await attempt(async () => {
    const url = imagesUrl({ color: state.color, _size: 1 });
    const { entries } = (await fetchJson(url, signal)).legend;
    legend.querySelector("summary").textContent = state.color;
    search.parentElement.hidden = entries.length <= MANY;
    search.value = "";
    list.replaceChildren(...entries.map(entry));
    if (legend.hidden) legend.open = innerWidth > NARROW;
    legend.hidden = false;
    showChosen();
  }, signal);
}

function entry({ value, label, color, dashed, count }) {
  const swatch = make("span", { className: "imgsim-swatch" });
  swatch.style.borderColor = color;
  if (dashed) swatch.classList.add("imgsim-dashed");
  const name = make("span", { className: "imgsim-value" }, label || "(empty)");
  const many = make("span", { className: "imgsim-quiet" }, count.toLocaleString("en"));
  if (value === null) return make("li", { className: "imgsim-entry" }, swatch, name, many);
  const button = make("button", { type: "button", className: "imgsim-entry" }, swatch, name, many);
  button.dataset.value = value;
  button.addEventListener("click", () => choose(state.value === value ? null : value));
  return make("li", {}, button);
}

function choose(value) {
  state.value = value;
  showChosen();
  redraw();
}
clear.addEventListener("click", () => {
  choose(null);
  legend.querySelector("summary").focus();
});

// Presses the button of the value that stands out.
function showChosen() {
  const { value } = framed();
  for (const button of list.querySelectorAll("button")) {
    const isChosen = button.dataset.value === value;
    button.setAttribute("aria-pressed", isChosen);
    if (isChosen) say(`Others than ${button.querySelector(".imgsim-value").textContent} are dimmed`);
  }
  if (value === null) say("");
  clear.hidden = value === null;
  legend.classList.toggle("imgsim-chosen", value !== null);
}

search.addEventListener("input", () => {
  const text = search.value.trim().toLowerCase();
  for (const item of list.children) {
    const label = item.querySelector(".imgsim-value").textContent.toLowerCase();
    item.hidden = !label.includes(text);
  }
});
