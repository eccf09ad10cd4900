// Where there is no image, the map says so and leads back.

import { find } from "./elements.js";
import { map, showWhole } from "./map-leaflet.js";
import { root } from "./map-page.js";
import { isEmpty } from "./map-view.js";

const note = find("nothing").querySelector("p");
let lastView = null; // where images were seen last

map.on("imgsim-view", () => {
  note.hidden = !isEmpty();
  if (!isEmpty()) lastView = [map.getCenter(), map.getZoom()];
});

map.on("movestart", () => (note.hidden = true));

note.querySelector("button").addEventListener("click", () => {
  if (lastView) map.setView(...lastView);
  else showWhole();
  root.focus({ preventScroll: true });
});
