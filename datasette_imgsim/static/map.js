// The map's page: shows what its address asks for. The other scripts map-*.js are a part each.

import { find } from "./elements.js";
import { asked, state } from "./map-address.js";
import { openArea } from "./map-area.js";
import "./map-find.js";
import { openImage } from "./map-image.js";
import { deepest, map, world } from "./map-leaflet.js";
import { showLegend } from "./map-legend.js";
import { latLng } from "./map-places.js";
import "./map-pointing.js";
import { drawTiles } from "./map-tiles.js";
import "./map-wall.js";

find("whole").addEventListener("click", () => map.fitBounds(world));

const view = (asked.get("at") || "").split("/").map(Number);
if (view.length === 3 && view.every(Number.isFinite)) {
  const zoom = Math.min(deepest, Math.max(0, Math.round(view[0])));
  map.setView(latLng({ x: view[1], y: view[2] }), zoom);
} else {
  showWhole();
}
drawTiles();
showLegend();

const fly = !asked.has("at");
if (state.bbox) openArea(state.bbox.split(","), { fly });
else if (state.id) openImage(state.id, { fly });

function showWhole() {
  const { x, y } = map.getSize();
  const side = Math.sqrt(world.getEast() * -world.getSouth());
  const fitting = Math.round(Math.log2(Math.sqrt(x * y) / side));
  map.setView(world.getCenter(), Math.min(deepest, Math.max(0, fitting)));
}
