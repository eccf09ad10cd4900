// Zooming in leads to images: the one nearest to where one points stays where it is on the screen,
// and where no image in view stands for others, there is nothing to zoom in to.

import { deepest, L, map } from "./map-leaflet.js";
import { drawnAt } from "./map-places.js";
import { hidesOthers, imageNear } from "./map-view.js";

const { setZoom, setZoomAround } = L.Map.prototype;

// Leaflet's buttons, keys and double click end here.
map.setZoom = (zoom, options) =>
  zoom > map.getZoom()
    ? map.setZoomAround(map.getSize().divideBy(2), zoom, options)
    : setZoom.call(map, zoom, options);

map.setZoomAround = (place, zoom, options) => {
  const point = place instanceof L.Point ? place : map.latLngToContainerPoint(place);
  const row = zoom > map.getZoom() ? imageNear(point) : null;
  if (!row) return setZoomAround.call(map, place, zoom, options);
  const kept = map.latLngToContainerPoint(drawnAt(row));
  const target = Math.min(zoom, map.getMaxZoom());
  const middle = map
    .project(drawnAt(row, target), target)
    .subtract(kept)
    .add(map.getSize().divideBy(2));
  return map.setView(map.unproject(middle, target), target, { zoom: options });
};

let gliding = false;
map.on("zoomanim", () => (gliding = true));
map.on("zoomend", () => (gliding = false));

/** Whether the map is on its way to another zoom: until it is there, it goes nowhere else. */
export const isGliding = () => gliding;

/** Lets the map zoom as deep as it is anywhere, to go to another place. */
export const unlimit = () => map.setMaxZoom(deepest);

map.on("moveend imgsim-view", () => {
  const most = hidesOthers() ? deepest : Math.min(deepest, Math.round(map.getZoom()));
  if (most !== map.getMaxZoom()) map.setMaxZoom(most);
});
