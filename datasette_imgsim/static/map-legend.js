// The column that frames are coloured by, and what each colour means.

import { find, make } from "./elements.js";
import { imagesUrl, remember, state } from "./map-address.js";
import { attempt, fetchJson, latest } from "./map-requests.js";
import { drawTiles } from "./map-tiles.js";

const select = find("colour").querySelector("select");
const legend = find("legend");
const newSignal = latest();

select.value = state.color || "";
select.addEventListener("change", () => {
  state.color = select.value || null;
  drawTiles();
  showLegend();
  remember();
});

/** Shows the legend of the chosen column, or none. */
export async function showLegend() {
  const signal = newSignal();
  if (!state.color) {
    legend.hidden = true;
    return;
  }
  await attempt(async () => {
    const url = imagesUrl({ color: state.color, _size: 1 });
    const answer = await fetchJson(url, signal);
    legend.replaceChildren(...legendOf(answer.legend));
    legend.hidden = false;
  }, signal);
}

function legendOf({ kind, entries, low, high, colors }) {
  if (kind === "number") {
    const bar = make("span", { className: "imgsim-scale" });
    bar.style.background = `linear-gradient(to right, ${colors.join(", ")})`;
    return [make("span", {}, String(low)), bar, make("span", {}, String(high))];
  }
  return entries.map(({ label, color, count }) => {
    const swatch = make("span", { className: "imgsim-swatch" });
    swatch.style.background = color;
    const many = make("span", { className: "imgsim-quiet" }, count.toLocaleString("en"));
    return make("span", { className: "imgsim-entry" }, swatch, label || "(empty)", " ", many);
  });
}
