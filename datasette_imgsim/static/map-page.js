// What the page gives to the scripts of the map, and what they write into it.

import { find, make } from "./elements.js";

export const root = find("map");
export const { map: mapUrl, gallery: galleryUrl } = root.dataset;

/** The name of the wall, if that is shown and not the map; as a parameter, the map needs none. */
export const wall = root.dataset.view === "wall" ? "wall" : null;

/** Shows a sentence above the map, or none. */
export function say(text) {
  find("status").textContent = text;
}

/** The thumbnail of an image. */
export function picture(row, properties = {}) {
  if (!row.thumbnail) return make("span", { className: "imgsim-none" }, "no thumbnail");
  return make("img", { src: row.thumbnail, alt: row.name, ...properties });
}
