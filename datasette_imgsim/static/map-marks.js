// What is drawn over the tiles: frames of the chosen images, and the outline of an area.

import { L, map, world } from "./map-leaflet.js";
import { boxBounds, cellBox } from "./map-places.js";

const COLOR = { chosen: "#ffb000", neighbour: "#35d0ff" };

/** The outline of the selected area; it is on the map only while there is one. */
export const area = L.rectangle(world, { color: COLOR.chosen, weight: 2, fillOpacity: 0.12 });

let marked = []; // {x, y, kind}, where kind is a name of COLOR
const frames = L.layerGroup().addTo(map);

/** Marks these images {x, y, kind: "chosen" or "neighbour"} and no others. */
export function mark(places) {
  marked = places;
  drawFrames();
}

// A frame is around the cell that an image is drawn in, which depends on the zoom.
function drawFrames() {
  frames.clearLayers();
  for (const place of [...marked].reverse()) {
    const isChosen = place.kind === "chosen";
    const style = { color: COLOR[place.kind], weight: isChosen ? 4 : 3, fill: false };
    const bounds = boxBounds(cellBox(place));
    frames.addLayer(L.rectangle(bounds, { ...style, interactive: false, className: place.kind }));
  }
}
map.on("zoomend", drawFrames);
