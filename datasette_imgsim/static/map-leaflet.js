// Leaflet and its map of the page, which shows a part of the square from (0, 0) to (SIDE, SIDE):
// the map fills it, the wall a rectangle in its upper left corner.

import { root } from "./map-page.js";

export const SIDE = 256;
/** The zooms that there are, and the last one at which cells get smaller. */
export const deepest = Number(root.dataset.deepest);
export const finest = Number(root.dataset.finest);

// The plugin datasette-leaflet says in the page where Leaflet is.
export const L = await import(root.dataset.leaflet);

export const world = L.latLngBounds([
  [-Number(root.dataset.height), 0],
  [0, Number(root.dataset.width)],
]);
export const map = L.map(root, {
  crs: L.CRS.Simple,
  minZoom: 0,
  maxZoom: deepest,
  maxBounds: world.pad(0.5),
  attributionControl: false,
});
