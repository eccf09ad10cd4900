// One image in the panel: its picture, its columns, and where its neighbours are. And the images
// that lie on one spot, as small pictures to choose from.

import { make } from "./elements.js";
import { address, imagesUrl, remember, state } from "./map-address.js";
import { map } from "./map-leaflet.js";
import { area, mark } from "./map-marks.js";
import { picture, say } from "./map-page.js";
import { newPanelSignal, showPanel } from "./map-panel.js";
import { cellBox, latLng } from "./map-places.js";
import { attempt, fetchJson } from "./map-requests.js";

const NEIGHBOURS = 12;
const MOST_ON_A_SPOT = 1000;

/** Opens the image of an id; the map flies there, or moves just as far as it must. */
export async function openImage(id, { fly = false } = {}) {
  const signal = newPanelSignal();
  say("");
  await attempt(async () => {
    const { rows } = await fetchJson(imagesUrl({ id }), signal);
    if (!rows.length) throw new Error(`The image ${id} is not on this map`);
    const [row] = rows;
    state.id = row.key;
    state.bbox = null;
    area.remove();
    const list = thumbnails([]);
    const [before, after] = aboutImage(row);
    showPanel(...before, list, after);
    mark([{ ...row, kind: "chosen" }]);
    if (fly) flyTo(row);
    else map.panInside(latLng(row), { padding: [60, 60] });
    remember();
    await showNeighbours(row, list, signal);
  }, signal);
}

function flyTo(row) {
  map.flyTo(latLng(row), Math.max(map.getZoom(), row.zoom), { duration: 0.8 });
}

// What is shown before its neighbours, and after them.
function aboutImage(row) {
  const shot = picture(row, { className: "imgsim-shot" });
  if (row.large) {
    const thumbnail = shot.src;
    shot.addEventListener("error", () => (shot.src = thumbnail), { once: true });
    shot.src = row.large;
  }
  const facts = Object.entries({ x: row.x.toFixed(3), y: row.y.toFixed(3), ...row.columns });
  const body = make("tbody");
  for (const [name, value] of facts) {
    if (value === null || value === "") continue;
    body.append(make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value))));
  }
  const placed = "Placed between its neighbours; the others were laid out without it.";
  const before = [
    make("h2", {}, make("a", { href: row.row }, row.name)),
    make("a", { href: row.href }, shot),
    ...(row.placed === "interpolated" ? [make("p", { className: "imgsim-quiet" }, placed)] : []),
    make("h3", {}, make("a", { href: row.href }, "Similar images")),
  ];
  return [before, make("table", { className: "imgsim-table" }, body)];
}

async function showNeighbours(row, list, signal) {
  const url = address(row.href.split("?")[0] + ".json", { _size: NEIGHBOURS });
  const { rows } = await fetchJson(url, signal);
  if (!rows.length) return;
  const ids = rows.map((each) => each.key);
  const { rows: places } = await fetchJson(imagesUrl({ id: ids }), signal);
  mark([{ ...row, kind: "chosen" }, ...places.map((each) => ({ ...each, kind: "neighbour" }))]);
  list.replaceWith(thumbnails(places, { fly: true }));
}

/** Opens all images that lie in the same cell as this one. */
export async function openStack(row) {
  const box = cellBox(row);
  const signal = newPanelSignal();
  say("");
  await attempt(async () => {
    const url = imagesUrl({ bbox: box.join(","), _size: MOST_ON_A_SPOT });
    const { rows, count } = await fetchJson(url, signal);
    state.id = state.bbox = null;
    area.remove();
    mark([{ ...row, kind: "chosen" }]);
    const heading = make("h2", {}, `${count.toLocaleString("en")} images on this spot`);
    showPanel(heading, thumbnails(rows));
    remember();
  }, signal);
}

/** A list of small pictures, each of which opens its image with these options. */
export function thumbnails(rows, options) {
  const list = make("ul", { className: "imgsim-thumbs", role: "list" });
  list.append(...rows.map((row) => thumbnail(row, options)));
  return list;
}

function thumbnail(row, options) {
  const link = make("a", { href: row.href, title: row.name }, picture(row, { loading: "lazy" }));
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    openImage(row.key, options);
  });
  return make("li", {}, link);
}
