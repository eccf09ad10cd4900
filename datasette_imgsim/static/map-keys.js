// The map by keyboard: Leaflet's keys move it and zoom; the image nearest to the middle is marked,
// and Enter opens it. Escape ends what was begun.

import { find } from "./elements.js";
import { isSelecting, openArea, setSelecting } from "./map-area.js";
import { inWords, showHover } from "./map-hover.js";
import { openShown } from "./map-shown.js";
import { L, map } from "./map-leaflet.js";
import { root } from "./map-page.js";
import { closePanel, isOpen } from "./map-panel.js";
import { boxBounds, boxOf, cellBox, drawnAt } from "./map-places.js";
import { imageNear } from "./map-view.js";

const spoken = find("aimed");
const frame = L.layerGroup().addTo(map);

/** The image that Enter opens, or null. */
const aimed = () => imageNear(map.getSize().divideBy(2));

// Marks the image that Enter opens, as long as the keyboard leads the map.
function aim() {
  const row = root.matches(":focus-visible") && !isSelecting() ? aimed() : null;
  frame.clearLayers();
  if (row) {
    const bounds = boxBounds(cellBox(row));
    for (const [color, weight, dashArray] of [
      ["#000", 7, null],
      ["#fff", 4, "10 6"],
    ]) {
      const style = { color, weight, dashArray, opacity: 1, fill: false, interactive: false };
      frame.addLayer(L.rectangle(bounds, { ...style, className: "aimed" }));
    }
    showHover(row, map.latLngToContainerPoint(drawnAt(row)).add([14, 14]));
  }
  const words = row ? `${inWords(row)}: press Enter to open` : "";
  if (spoken.textContent !== words) spoken.textContent = words;
}

map.on("imgsim-view", aim);
map.on("zoomstart", () => frame.clearLayers());
root.addEventListener("focus", aim);
root.addEventListener("blur", () => {
  aim();
  showHover(null);
});

root.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.target !== root) return;
  if (isSelecting()) return openArea(boxOf(map.getBounds()));
  const row = aimed();
  if (row) openShown(row);
});

find("atlas").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (isSelecting()) setSelecting(false);
  else if (isOpen()) closePanel();
});
