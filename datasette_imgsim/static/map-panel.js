// The panel beside the map: opened with an image, with several on one spot, or with an area.

import { find, make } from "./elements.js";
import { remember, state } from "./map-address.js";
import { map } from "./map-leaflet.js";
import { area, mark } from "./map-marks.js";
import { root } from "./map-page.js";
import { latest } from "./map-requests.js";

const panel = find("panel");

/** A new signal for what the panel is to show; what was asked for it before is aborted. */
export const newPanelSignal = latest();

/** Opens the panel with these elements. */
export function showPanel(...children) {
  const close = make("button", { type: "button", className: "imgsim-close", title: "Close" }, "×");
  close.addEventListener("click", closePanel);
  panel.replaceChildren(close, ...children);
  const wasHidden = panel.hidden;
  panel.hidden = false;
  panel.scrollTop = 0;
  if (wasHidden) map.invalidateSize({ pan: false });
}

/** Closes the panel; nothing is chosen any more. */
export function closePanel() {
  newPanelSignal();
  panel.hidden = true;
  state.id = state.bbox = null;
  area.remove();
  mark([]);
  map.invalidateSize({ pan: false });
  remember();
  root.focus({ preventScroll: true });
}
