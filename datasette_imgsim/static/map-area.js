// Selecting an area, and what is said about it in the panel.

import { find, make } from "./elements.js";
import { address, imagesUrl, remember, rowsAddress, state } from "./map-address.js";
import { thumbnails } from "./map-image.js";
import { L, map } from "./map-leaflet.js";
import { area, mark } from "./map-marks.js";
import { galleryUrl, root, say } from "./map-page.js";
import { newPanelSignal, showPanel } from "./map-panel.js";
import { boxBounds, boxOf } from "./map-places.js";
import { attempt, fetchJson } from "./map-requests.js";

const MOST_SHOWN = 60;

const button = find("select");
let selecting = false;
let corner; // where the drawing of a rectangle began

/** Whether one is about to draw an area, so that pointing at images does nothing. */
export const isSelecting = () => selecting;

/** Begins to select an area, or ends it. */
export function setSelecting(on) {
  selecting = on;
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
    event.preventDefault();
    event.stopPropagation();
    corner = map.mouseEventToLatLng(event);
    root.setPointerCapture(event.pointerId);
    area.setBounds(L.latLngBounds(corner, corner)).addTo(map);
  },
  true,
);
root.addEventListener("pointermove", (event) => {
  if (corner) area.setBounds(L.latLngBounds(corner, map.mouseEventToLatLng(event)));
});
root.addEventListener("pointerup", (event) => {
  if (!corner) return;
  const bounds = L.latLngBounds(corner, map.mouseEventToLatLng(event));
  corner = null;
  // After the click that ends the drawing, which must not open an image.
  setTimeout(() => openArea(boxOf(bounds)));
});
root.addEventListener("pointercancel", () => {
  corner = null;
  area.remove();
});

/** Opens the images of a box [x0, y0, x1, y1]; `fly` moves the map so that it is in view. */
export async function openArea(box, { fly = false } = {}) {
  setSelecting(false);
  const bbox = box.join(",");
  const signal = newPanelSignal();
  await attempt(async () => {
    const url = imagesUrl({ bbox, _size: MOST_SHOWN });
    const { rows, count } = await fetchJson(url, signal);
    state.bbox = bbox;
    state.id = null;
    area.setBounds(boxBounds(box.map(Number))).addTo(map);
    mark([]);
    showPanel(...aboutArea(bbox, rows, count));
    if (fly) map.fitBounds(area.getBounds());
    remember();
  }, signal);
}

function aboutArea(bbox, rows, count) {
  const words = count === 1 ? "1 image" : `${count.toLocaleString("en")} images`;
  const inArea = { _in_atlas: bbox };
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
    links,
    thumbnails(rows),
    ...(count > rows.length ? [make("p", {}, make("a", { href: all }, "See them all"))] : []),
  ];
}
