// The images in view: which one each cell shows. "imgsim-view" is fired at the map when they are
// known.

import { framed, imagesUrl } from "./map-address.js";
import { map } from "./map-leaflet.js";
import { root } from "./map-page.js";
import { boxBounds, boxOf, cellBox, cellOf, cellSide, drawnAt } from "./map-places.js";
import { attempt, debounced, fetchJson, latest } from "./map-requests.js";

const ROWS = 1000;
const LOAD_MS = 150;

// What was loaded last: the images by their cell, and the part of the map at the zoom.
let known = { images: new Map(), bounds: null, zoom: null };
const newSignal = latest();

/** Asks which images are in view. */
export async function loadView() {
  const signal = newSignal();
  const zoom = map.getZoom();
  if (!Number.isInteger(zoom)) return; // in flight: its end asks again
  const images = new Map();
  await attempt(async () => {
    const bounds = map.getBounds();
    const bbox = boxOf(bounds).join(",");
    const side = cellSide(zoom);
    const chosen = framed();
    let next;
    do {
      const more = chosen.value === null ? {} : chosen;
      const url = imagesUrl({ z: zoom, bbox, _size: ROWS, _next: next, ...more });
      const answer = await fetchJson(url, signal);
      for (const row of answer.rows) images.set(String(cellOf(row, side)), row);
      next = answer.next;
    } while (next);
    known = { images, bounds, zoom };
    root.dataset.loaded = zoom;
    map.fire("imgsim-view");
  }, signal);
}
map.on("moveend", debounced(LOAD_MS, loadView));

/** The image that is drawn at a point of Leaflet's, if there is one and it is known already. */
export function imageAt({ lat, lng }) {
  if (known.zoom !== map.getZoom()) return null;
  return known.images.get(String(cellOf({ x: lng, y: -lat })));
}

/** The known image in view that is drawn nearest to a point of the window of the map, or null. */
export function imageNear(point) {
  let [nearest, least] = [null, Infinity];
  const inView = map.getBounds();
  for (const row of known.images.values()) {
    const place = drawnAt(row);
    const distance = map.latLngToContainerPoint(place).distanceTo(point);
    if (distance < least && inView.contains(place)) [nearest, least] = [row, distance];
  }
  return nearest;
}

/** Whether no image is drawn in view. */
export const isEmpty = () => known.images.size === 0;

/** Whether an image in view stands for others, or may do, as long as not all are known. */
export function hidesOthers() {
  const inView = map.getBounds();
  if (!known.bounds?.contains(inView)) return true;
  return [...known.images.values()].some(
    (row) => row.count > 1 && inView.intersects(boxBounds(cellBox(row, known.zoom))),
  );
}

/** How many images an image stands for, itself included: of the chosen value, if it has it. */
const standsFor = (row) => row.wanted || row.count || 1;

/** "5 more", if an image stands for others. */
export function andMore(row) {
  const others = standsFor(row) - 1;
  return others ? `${others.toLocaleString("en")} more` : "";
}
