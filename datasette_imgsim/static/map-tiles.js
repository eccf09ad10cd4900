// The tiles, which the server draws.

import { address, framed } from "./map-address.js";
import { deepest, L, map, world } from "./map-leaflet.js";
import { galleryUrl, root } from "./map-page.js";

let layer;

/** Shows the tiles with their frames; those shown before stay until the new ones are loaded. */
export function drawTiles() {
  const version = root.dataset.generation;
  // Leaflet takes {} in an address for something to fill in.
  const escaped = (url) => url.replaceAll("{", "%7B").replaceAll("}", "%7D");
  const url = `${galleryUrl}/tiles/{z}/{x}/{y}{r}.jpg`;
  const fresh = L.tileLayer(url + escaped(address("", { ...framed(), v: version })), {
    bounds: world,
    noWrap: true,
    maxZoom: deepest,
  }).addTo(map);
  const old = layer;
  layer = fresh;
  if (old) fresh.once("load", () => old.remove());
}
