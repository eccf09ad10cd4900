// What is shown, as the page's address has it, and the addresses to ask the server.

import { map } from "./map-leaflet.js";
import { mapUrl, wall } from "./map-page.js";

/** The parameters that the page was opened with. */
export const asked = new URL(location.href).searchParams;

/** The space, whether it is the wall, the column that frames are coloured by, and the area or the image that is open. */
export const state = {
  space: asked.get("space"),
  view: wall,
  color: asked.get("color"),
  bbox: asked.get("bbox"),
  id: asked.get("id"),
};

/** An address in the same space and view; values that are empty are left out, lists are repeated. */
export function address(base, values = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ space: state.space, view: state.view, ...values })) {
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") query.append(name, each);
    }
  }
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
  return text ? `${base}?${text}` : base;
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
