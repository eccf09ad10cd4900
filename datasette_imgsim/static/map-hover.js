// An image shown larger beside the place where it is drawn, with its name.

import { find, make } from "./elements.js";
import { map } from "./map-leaflet.js";
import { picture } from "./map-page.js";
import { andMore } from "./map-view.js";

const GAP = 18;

const hover = find("hover");
let shown = null;
let place;

/** Shows an image beside a point of the window of the map; null shows none. */
export function showHover(row, point) {
  place = point ?? place;
  if (row && row !== shown) {
    const shot = picture(row, { alt: "", onload: move });
    hover.replaceChildren(shot, make("span", {}, inWords(row)));
  }
  shown = row;
  hover.hidden = !row;
  if (row) move();
}

/** The name of an image, and for how many more it stands. */
export function inWords(row) {
  const more = andMore(row);
  return more ? `${row.name} and ${more} here` : row.name;
}

function move() {
  if (hover.hidden) return;
  const { x: width, y: height } = map.getSize();
  const { x, y } = place;
  const left = x + GAP + hover.offsetWidth > width ? x - GAP - hover.offsetWidth : x + GAP;
  const top = Math.min(y + GAP, height - hover.offsetHeight - 4);
  hover.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px)`;
}
