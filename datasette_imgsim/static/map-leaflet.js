// Leaflet and its map of the page, which shows a part of the square from (0, 0) to (SIDE, SIDE):
// the map fills it, the wall a rectangle in its upper left corner.

import { find } from "./elements.js";
import { root, wall } from "./map-page.js";

export const SIDE = 256;
/** The zooms that there are, and the last one at which cells get smaller. */
export const deepest = Number(root.dataset.deepest);
export const finest = Number(root.dataset.finest);

/** Whether the reader asks for less motion: then the map jumps instead of gliding. */
export const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

// The plugin datasette-leaflet says in the page where Leaflet is.
export const L = await import(root.dataset.leaflet);

const stage = find("stage");
const width = Number(root.dataset.width);
const height = Number(root.dataset.height);

// The zoom at which the whole fits about into the window. A wall fills the width of a tall one.
function fitting() {
  const { clientWidth: x, clientHeight: y } = stage;
  const zoom = isTall()
    ? Math.ceil(Math.log2(x / width))
    : Math.round(Math.log2((x * y) / (width * height)) / 2);
  return Math.min(deepest, Math.max(0, zoom));
}

const isTall = () => wall && stage.clientWidth <= stage.clientHeight;

// A tall window ends where the wall does.
if (isTall()) {
  const end = Math.min(stage.clientHeight, height * 2 ** fitting());
  find("atlas").style.height = `${end}px`;
}

const StillMap = L.Map.extend({
  panBy(offset, options) {
    return L.Map.prototype.panBy.call(this, offset, { ...options, animate: false });
  },
  flyTo(center, zoom) {
    return this.setView(center, zoom, { animate: false });
  },
});

export const world = L.latLngBounds([
  [-height, 0],
  [0, width],
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
  map.setView(world.getCenter(), fitting());
}
