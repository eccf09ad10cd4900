// The column that frames are coloured by, and what each colour means. A value that is clicked
// stands out: the others are dimmed.

import { find, make } from "./elements.js";
import { framed, imagesUrl, remember, state } from "./map-address.js";
import { deepest, map } from "./map-leaflet.js";
import { root } from "./map-page.js";
import { drawnAt } from "./map-places.js";
import { attempt, fetchJson, latest } from "./map-requests.js";
import { drawTiles } from "./map-tiles.js";
import { loadView } from "./map-view.js";

const MANY = 12; // more values than this can be searched
const COARSE = 2; // the zoom whose cells are counted to find where a value is frequent
const MARGIN = 40; // pixels
const NARROW = 640; // pixels; on a narrower page the legend is folded at first

const select = find("colour").querySelector("select");
const legend = find("legend");
const list = legend.querySelector("ul");
const search = legend.querySelector("input");
const clear = legend.querySelector("button");
const spoken = find("chosen-value");
const newSignal = latest();
const newPlaceSignal = latest();

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
    search.parentElement.hidden = entries.length <= MANY;
    search.value = "";
    list.replaceChildren(...entries.map(entry));
    if (legend.hidden) legend.open = innerWidth > NARROW;
    legend.hidden = false;
    showChosen();
  }, signal);
}

function entry({ value, label, color, dashed, count, wanted }) {
  const swatch = make("span", { className: "imgsim-swatch" });
  swatch.style.borderColor = color;
  if (dashed) swatch.classList.add("imgsim-dashed");
  const name = make("span", { className: "imgsim-value" }, label || "(empty)");
  const all = count.toLocaleString("en");
  const said = wanted === undefined ? all : `${wanted.toLocaleString("en")} of ${all}`;
  const many = make("span", { className: "imgsim-quiet" }, said);
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
  if (innerWidth <= NARROW) legend.open = false; // the map is below it
  showMost();
}

// Moves the map so that the place with most images of the value can be seen beside the legend.
async function showMost() {
  const signal = newPlaceSignal();
  if (state.value === null) return;
  await attempt(async () => {
    const zoom = Math.min(COARSE, deepest);
    const { rows } = await fetchJson(imagesUrl({ z: zoom, ...framed(), _size: 1000 }), signal);
    const most = rows.reduce((a, b) => (b.wanted > a.wanted ? b : a));
    if (!most.wanted) return;
    const place = drawnAt(most);
    const around = root.getBoundingClientRect();
    const free = (legend.open ? legend.getBoundingClientRect().left : around.right) - around.left;
    const { x, y } = map.latLngToContainerPoint(place);
    const edge = map.getSize();
    if (x > MARGIN && x < free - MARGIN && y > MARGIN && y < edge.y - MARGIN) return;
    map.panBy([x - free / 2, y - edge.y / 2]);
  }, signal);
}
clear.addEventListener("click", () => {
  choose(null);
  legend.querySelector("summary").focus();
});

// Presses the button of the value that stands out, and says which one it is.
function showChosen() {
  const { value } = framed();
  let chosen = null; // what the value is called
  for (const button of list.querySelectorAll("button")) {
    const isChosen = button.dataset.value === value;
    button.setAttribute("aria-pressed", isChosen);
    if (isChosen) chosen = button.querySelector(".imgsim-value").textContent;
  }
  const heading = chosen === null ? state.color : `${state.color}: ${chosen}`;
  legend.querySelector("summary").textContent = heading;
  spoken.textContent = chosen === null ? "" : `${heading} stands out, the others are dimmed`;
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
