// Opening an image as it is drawn on the map, where it may stand for others.

import { make } from "./elements.js";
import { openArea } from "./map-area.js";
import { openImage } from "./map-image.js";
import { deepest, map } from "./map-leaflet.js";
import { cellBox } from "./map-places.js";
import { andMore } from "./map-view.js";

/** Opens a drawn image, or all that lie there if no zoom tells them apart. */
export function openShown(row) {
  if (row.count > 1 && map.getZoom() === deepest) openArea(cellBox(row));
  else openImage(row.key, { notes: row.count > 1 ? [others(row)] : [] });
}

function others(row) {
  const box = cellBox(row);
  const all = `See all ${row.count.toLocaleString("en")}`;
  const button = make("button", { type: "button", className: "imgsim-button" }, all);
  button.addEventListener("click", () => openArea(box));
  const more = andMore(row);
  const words = more ? `At this zoom it stands for ${more} around it. ` : "";
  return make("p", { className: "imgsim-others" }, words, button);
}
