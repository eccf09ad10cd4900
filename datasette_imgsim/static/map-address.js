// What is shown, as the page's address has it, and the addresses to ask the server.

import { map } from "./map-leaflet.js";
import { mapUrl, root, rowsUrl } from "./map-page.js";

/** The parameters that the page was opened with. */
export const asked = new URL(location.href).searchParams;

/** The column that frames are coloured by, and the area or the image that is open. */
export const state = {
  color: asked.get("color"),
  bbox: asked.get("bbox"),
  id: asked.get("id"),
};

/**
 * An address with the space and the filter of the page; values that are empty are left out, lists
 * are repeated.
 */
export const address = (base, values) => joined(base, root.dataset.query, values);

/** The address of the same images as rows of the table, in the given format. */
export function rowsAddress(values, format = "") {
  const [base, query] = rowsUrl.split("?");
  return joined(base + format, query, values);
}

function joined(base, text, values = {}) {
  const query = new URLSearchParams(text);
  for (const [name, value] of Object.entries(values)) {
    query.delete(name);
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") query.append(name, each);
    }
  }
  const all = query.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
  return all ? `${base}?${all}` : base;
}

/** The address of images on the map and where they are, as JSON. */
export const imagesUrl = (values) => address(`${mapUrl}.json`, values);

/** Puts what is shown into the page's address. */
export function remember() {
  const { color, bbox, id } = state;
  history.replaceState(null, "", address(location.pathname, { at: at(), color, bbox, id }));
}

function at() {
  const { lat, lng } = map.getCenter();
  return [Math.round(map.getZoom()), lng.toFixed(2), (-lat).toFixed(2)].join("/");
}

map.on("moveend", remember);
