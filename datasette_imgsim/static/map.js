// The map's page: shows what its address asks for. The other scripts map-*.js are a part each.

import { find } from "./elements.js";
import { askedPlace, onReturn, state } from "./map-address.js";
import { openArea } from "./map-area.js";
import "./map-empty.js";
import { filterBy, isFiltered } from "./map-filter.js";
import "./map-find.js";
import { openImage } from "./map-image.js";
import { showLabels } from "./map-labels.js";
import "./map-keys.js";
import { deepest, map, showWhole, world } from "./map-leaflet.js";
import { showLegend } from "./map-legend.js";
import { hidePanel } from "./map-panel.js";
import { latLng } from "./map-places.js";
import "./map-pointing.js";
import { drawTiles } from "./map-tiles.js";
import { loadView } from "./map-view.js";
import "./map-wall.js";
import "./map-wheel.js";
import { isGliding, unlimit } from "./map-zoom.js";

find("whole").addEventListener("click", () => map.fitBounds(world));

const place = askedPlace();
show(place);
drawTiles();
showLegend();
showLabels();
showOpened(place !== null);

onReturn(async () => {
  if (!isFiltered()) await filterBy(location.href);
  const place = askedPlace(); // before the map moves, which changes the address
  if (state.bbox === null && state.id === null) hidePanel(); // before, since it takes room
  show(place);
  drawTiles();
  loadView();
  showLegend();
  showOpened(true);
});

// Shows a place {x, y, zoom}, or the whole map.
function show(place) {
  if (isGliding()) return map.once("zoomend", () => show(place));
  unlimit();
  if (!place) return showWhole();
  const zoom = Math.min(deepest, Math.max(0, Math.round(place.zoom)));
  map.setView(latLng(place), zoom, { animate: false });
}

// Opens what the address names. The map flies there unless it says where one was.
function showOpened(stay) {
  if (state.bbox !== null) openArea(state.bbox.split(","), { fly: !stay });
  else if (state.id !== null) openImage(state.id, { fly: !stay, stay });
}
