// Pointing at an image shows it larger, a click opens it; keys do the same in the middle.

import { find, make } from "./elements.js";
import { isSelecting, openArea, setSelecting } from "./map-area.js";
import { openImage, openStack } from "./map-image.js";
import { deepest, map } from "./map-leaflet.js";
import { picture, root } from "./map-page.js";
import { closePanel } from "./map-panel.js";
import { boxOf } from "./map-places.js";
import { imageAt } from "./map-view.js";

const hover = find("hover");
let hovered;

map.on("mousemove", ({ latlng, containerPoint }) => {
  const row = isSelecting() ? null : imageAt(latlng);
  root.classList.toggle("imgsim-over", Boolean(row));
  if (row && row !== hovered) {
    const shot = picture(row, { alt: "", onload: () => placeHover(containerPoint) });
    hover.replaceChildren(shot, make("span", {}, nameAndCount(row)));
  }
  hovered = row;
  hover.hidden = !row;
  if (row) placeHover(containerPoint);
});
map.on("mouseout movestart zoomstart click", () => {
  hovered = null;
  hover.hidden = true;
});

function nameAndCount({ name, count }) {
  return count > 1 ? `${name} and ${(count - 1).toLocaleString("en")} more` : name;
}

function placeHover({ x, y }) {
  const { x: width, y: height } = map.getSize();
  const gap = 18;
  const left = x + gap + hover.offsetWidth > width ? x - gap - hover.offsetWidth : x + gap;
  const top = Math.min(y + gap, height - hover.offsetHeight - 4);
  hover.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px)`;
}

map.on("click", ({ latlng }) => openAt(latlng));
root.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return isSelecting() ? setSelecting(false) : closePanel();
  if (event.key !== "Enter" || event.target !== root) return;
  if (isSelecting()) openArea(boxOf(map.getBounds()));
  else openAt(map.getCenter());
});

function openAt(latlng) {
  const row = isSelecting() ? null : imageAt(latlng);
  if (!row) return;
  if (row.count > 1 && map.getZoom() === deepest) openStack(row);
  else openImage(row.key);
}
