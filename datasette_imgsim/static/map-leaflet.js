// Leaflet and its map of the page, which shows a part of the square from (0, 0) to (SIDE, SIDE):
// the map fills it, the wall a rectangle in its upper left corner.

import { root } from "./map-page.js";

export const SIDE = 256;
/** The zooms that there are, and the last one at which cells get smaller. */
export const deepest = Number(root.dataset.deepest);
export const finest = Number(root.dataset.finest);

/** Whether the reader asks for less motion: then the map jumps instead of gliding. */
export const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

// The plugin datasette-leaflet says in the page where Leaflet is.
export const L = await import(root.dataset.leaflet);

const StillMap = L.Map.extend({
  panBy(offset, options) {
    return L.Map.prototype.panBy.call(this, offset, { ...options, animate: false });
  },
  flyTo(center, zoom) {
    return this.setView(center, zoom, { animate: false });
  },
});

export const world = L.latLngBounds([
  [-Number(root.dataset.height), 0],
  [0, Number(root.dataset.width)],
]);
export const map = new (still ? StillMap : L.Map)(root, {
  crs: L.CRS.Simple,
  minZoom: 0,
  maxZoom: deepest,
  maxBounds: world.pad(0.5),
  attributionControl: false,
  scrollWheelZoom: false, // map-wheel.js does it
  zoomAnimation: !still,
  fadeAnimation: !still,
  inertia: !still,
});

/** Shows the whole map, as large as fits about into the window. */
export function showWhole() {
  const { x, y } = map.getSize();
  const fitting = Math.round(Math.log2(Math.sqrt(x * y) / SIDE));
  map.setView(world.getCenter(), Math.min(deepest, Math.max(0, fitting)));
}
