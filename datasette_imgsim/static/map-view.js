// The images in view: which one each cell shows.

import { imagesUrl } from "./map-address.js";
import { map } from "./map-leaflet.js";
import { root } from "./map-page.js";
import { boxOf, cellOf, cellSide } from "./map-places.js";
import { attempt, debounced, fetchJson, latest } from "./map-requests.js";

const ROWS = 1000;
const LOAD_MS = 150;

let shown = new Map(); // the images, by their cell
const newSignal = latest();

async function loadView() {
  const signal = newSignal();
  const zoom = map.getZoom();
  if (!Number.isInteger(zoom)) return; // in flight: its end asks again
  const found = new Map();
  await attempt(async () => {
    const box = boxOf(map.getBounds()).join(",");
    const side = cellSide(zoom);
    let next;
    do {
      const url = imagesUrl({ z: zoom, bbox: box, _size: ROWS, _next: next });
      const answer = await fetchJson(url, signal);
      for (const row of answer.rows) found.set(String(cellOf(row, side)), row);
      next = answer.next;
    } while (next);
    shown = found;
    root.dataset.loaded = zoom;
  }, signal);
}
map.on("moveend", debounced(LOAD_MS, loadView));

/** The image that is drawn at a point of Leaflet's, if there is one and it is known already. */
export function imageAt({ lat, lng }) {
  if (Number(root.dataset.loaded) !== map.getZoom()) return null;
  return shown.get(String(cellOf({ x: lng, y: -lat })));
}
