// Leaflet and its map of the page, which shows the square from (0, 0) to (SIDE, SIDE).

import { root } from "./map-page.js";

export const SIDE = 256;
export const deepest = Number(root.dataset.deepest);

// The plugin datasette-leaflet says in the page where Leaflet is.
export const L = await import(root.dataset.leaflet);

export const world = L.latLngBounds([
  [-SIDE, 0],
  [0, SIDE],
]);
export const map = L.map(root, {
  crs: L.CRS.Simple,
  minZoom: 0,
  maxZoom: deepest,
  maxBounds: world.pad(0.5),
  attributionControl: false,
});
