// Where things are. The server's x goes to the right and its y down; Leaflet calls x a longitude,
// and its latitude goes up. Images are drawn in square cells, CELLS_A_TILE on each side of a tile.

import { finest, L, map, SIDE } from "./map-leaflet.js";

const CELLS_A_TILE = 4;

/** Leaflet's point of a place {x, y}. */
export const latLng = ({ x, y }) => L.latLng(-y, x);

/** How wide a cell is at a zoom. */
export const cellSide = (zoom = map.getZoom()) =>
  SIDE / (CELLS_A_TILE * 2 ** Math.min(zoom, finest));

/** The [column, line] of the cell that a place is in. */
export const cellOf = ({ x, y }, side = cellSide()) => [Math.floor(x / side), Math.floor(y / side)];

/** The box [x0, y0, x1, y1] of that cell. */
export function cellBox(place, zoom) {
  const side = cellSide(zoom);
  const [column, line] = cellOf(place, side);
  return [column * side, line * side, (column + 1) * side, (line + 1) * side];
}

/** Leaflet's bounds of a box. */
export const boxBounds = ([x0, y0, x1, y1]) =>
  L.latLngBounds([
    [-y1, x0],
    [-y0, x1],
  ]);

/** Leaflet's point in the middle of the cell that an image is drawn in. */
export const drawnAt = (place, zoom) => boxBounds(cellBox(place, zoom)).getCenter();

/** The box of Leaflet's bounds, as far as it is on the map, in numbers for an address. */
export function boxOf(bounds) {
  const box = [bounds.getWest(), -bounds.getNorth(), bounds.getEast(), -bounds.getSouth()];
  return box.map((value) => Math.min(SIDE, Math.max(0, value)).toFixed(3));
}
