// Selecting an area, and what is said about it in the panel.

import { find, make } from "./elements.js";
import { address, imagesUrl, rememberOpened, rowsAddress, state } from "./map-address.js";
import { openThumbnail } from "./map-image.js";
import { L, map } from "./map-leaflet.js";
import { area, mark } from "./map-marks.js";
import { galleryUrl, root, say, wall } from "./map-page.js";
import { newPanelSignal, showPanel } from "./map-panel.js";
import { boxBounds, boxOf } from "./map-places.js";
import { attempt, fetchJson } from "./map-requests.js";
import { thumbnails } from "./map-thumbnails.js";
import { unlimit } from "./map-zoom.js";

const MOST_SHOWN = 60;
const LEAST_DRAWN = 6; // pixels; whoever draws less has clicked

const button = find("select");
let selecting = false;
let corner; // where the drawing of a rectangle began
let pointer; // the finger or mouse that draws it

/** Whether one is about to draw an area, so that pointing at images does nothing. */
export const isSelecting = () => selecting;

/** Begins to select an area, or ends it. */
export function setSelecting(on) {
  selecting = on;
  stopDrawing();
  button.setAttribute("aria-pressed", on);
  root.classList.toggle("imgsim-selecting", on);
  map.dragging[on ? "disable" : "enable"]();
  say(on ? "Draw a rectangle on the map, or press Enter on it for all that is in view" : "");
}
button.addEventListener("click", () => setSelecting(!selecting));

root.addEventListener(
  "pointerdown",
  (event) => {
    if (!selecting || event.button || event.target.closest(".leaflet-control")) return;
    if (corner) return stopDrawing(); // two fingers zoom
    event.preventDefault();
    event.stopPropagation();
    corner = map.mouseEventToContainerPoint(event);
    pointer = event.pointerId;
    root.setPointerCapture(pointer);
    area.setBounds(drawn(event)).addTo(map);
  },
  true,
);
root.addEventListener("pointermove", (event) => {
  if (corner && event.pointerId === pointer) area.setBounds(drawn(event));
});
root.addEventListener("pointerup", (event) => {
  if (!corner || event.pointerId !== pointer) return;
  const isDrawn = map.mouseEventToContainerPoint(event).distanceTo(corner) >= LEAST_DRAWN;
  const box = boxOf(drawn(event));
  if (!isDrawn) return stopDrawing();
  corner = null;
  // After the click that ends the drawing, which must not open an image.
  setTimeout(() => openArea(box));
});
root.addEventListener("pointercancel", stopDrawing);

function stopDrawing() {
  if (corner) area.remove();
  corner = null;
}

function drawn(event) {
  const points = [corner, map.mouseEventToContainerPoint(event)];
  return L.latLngBounds(points.map((point) => map.containerPointToLatLng(point)));
}

/**
 * Opens the images of a box [x0, y0, x1, y1]. With `fly` the map moves so that it is in view.
 */
export async function openArea(box, { fly = false } = {}) {
  setSelecting(false);
  const bbox = box.join(",");
  const signal = newPanelSignal();
  await attempt(async () => {
    const url = imagesUrl({ bbox, _size: MOST_SHOWN });
    const { rows, count } = await fetchJson(url, signal);
    state.bbox = bbox;
    state.id = null;
    rememberOpened();
    area.setBounds(boxBounds(box.map(Number))).addTo(map);
    mark([]);
    showPanel(...aboutArea(bbox, rows, count));
    if (!fly) return;
    unlimit();
    map.fitBounds(area.getBounds());
  }, signal);
}

// [heading, everything else]
function aboutArea(bbox, rows, count) {
  const words = count === 1 ? "1 image" : `${count.toLocaleString("en")} images`;
  const inArea = wall ? { view: null, _in_wall: bbox } : { _in_atlas: bbox };
  const all = address(galleryUrl, inArea);
  const whole = "stream" in root.dataset ? { _stream: "on" } : { _size: "max" };
  const addresses = [
    ["Gallery", all],
    ["JSON", imagesUrl({ bbox })],
    ["Rows", rowsAddress(inArea)],
    ["CSV", rowsAddress({ ...inArea, ...whole }, ".csv")],
  ];
  const links = make("p", { className: "imgsim-links" });
  for (const [text, href] of addresses) {
    links.append(make("a", { href }, text), " ");
  }
  return [
    make("h2", {}, `${words} in this area`),
    [
      links,
      thumbnails(rows, openThumbnail),
      ...(count > rows.length ? [make("p", {}, make("a", { href: all }, "See them all"))] : []),
    ],
  ];
}
