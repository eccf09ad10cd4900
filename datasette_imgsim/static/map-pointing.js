// Pointing at an image shows it larger; a click opens it.

import { isSelecting } from "./map-area.js";
import { openShown } from "./map-shown.js";
import { map } from "./map-leaflet.js";
import { showHover } from "./map-hover.js";
import { root } from "./map-page.js";
import { imageAt } from "./map-view.js";

map.on("mousemove", ({ latlng, containerPoint, originalEvent }) => {
  const isHidden = isSelecting() || originalEvent.target.closest(".imgsim-label");
  const row = isHidden ? null : imageAt(latlng);
  root.classList.toggle("imgsim-over", Boolean(row));
  showHover(row, containerPoint);
});
map.on("mouseout movestart zoomstart click", () => showHover(null));

map.on("click", ({ latlng }) => {
  const row = isSelecting() ? null : imageAt(latlng);
  if (row) openShown(row);
});
