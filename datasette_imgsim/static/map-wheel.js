// The mouse wheel: one notch is one zoom. A trackpad gives many small movements, which add up.

import { map } from "./map-leaflet.js";
import { root } from "./map-page.js";
import { isGliding } from "./map-zoom.js";

const NOTCH = 50; // a wheel gives at least so many pixels at once
const STEP = 100; // small movements of so many pixels are one zoom
const LINE = 33; // how many pixels a line counts, where the browser counts lines
const PINCH = 8; // two fingers on a trackpad give smaller numbers
const STEP_MS = 60; // there are no more zooms than one in this time
const PAUSE_MS = 300; // after this time a new movement begins

let sum = 0;
let last = -Infinity; // when the wheel moved
let stepped = -Infinity; // when that led to a zoom
let target = null; // where the zooms asked for lead, while the map is still on its way
let point;

root.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : LINE;
    const moved = -event.deltaY * unit * (event.ctrlKey ? PINCH : 1);
    if (event.timeStamp - last > PAUSE_MS || moved * sum < 0) sum = 0;
    last = event.timeStamp;
    sum += Math.abs(moved) < NOTCH ? moved : Math.sign(moved) * STEP;
    if (Math.abs(sum) < STEP || event.timeStamp - stepped < STEP_MS) return;
    stepped = event.timeStamp;
    point = map.mouseEventToContainerPoint(event);
    const zoom = (target ?? Math.round(map.getZoom())) + Math.sign(sum);
    target = Math.min(map.getMaxZoom(), Math.max(map.getMinZoom(), zoom));
    sum = 0;
    go();
  },
  { passive: false },
);

map.on("zoomend", go);

function go() {
  if (isGliding() || target === null) return;
  const zoom = Math.min(target, map.getMaxZoom());
  target = zoom === map.getZoom() ? null : zoom;
  if (target !== null) map.setZoomAround(point, target);
}
