// The panel beside the map: opened with an image, or with an area.

import { find, make } from "./elements.js";
import { rememberClosed } from "./map-address.js";
import { map } from "./map-leaflet.js";
import { area, mark } from "./map-marks.js";
import { root } from "./map-page.js";
import { latest } from "./map-requests.js";

const panel = find("panel");

/** A new signal for what the panel is to show; what was asked for it before is aborted. */
export const newPanelSignal = latest();

export const isOpen = () => !panel.hidden;

/**
 * Opens the panel with a heading and other elements. The focus goes there where the keyboard leads,
 * where it was in the panel already, and if `focus` asks for it.
 */
export function showPanel(heading, children, { focus = false } = {}) {
  const byKeyboard = root.matches(":focus-visible");
  const takesFocus = focus || byKeyboard || panel.contains(document.activeElement);
  const close = make("button", { type: "button", className: "imgsim-close", title: "Close" }, "×");
  close.setAttribute("aria-label", "Close");
  close.addEventListener("click", closePanel);
  heading.id = "imgsim-panel-heading";
  panel.replaceChildren(close, heading, ...children);
  const wasHidden = panel.hidden;
  panel.hidden = false;
  panel.scrollTop = 0;
  if (wasHidden) map.invalidateSize({ pan: false });
  if (takesFocus) panel.focus();
}

/** Hides the panel; nothing is chosen any more. */
export function hidePanel() {
  newPanelSignal();
  const hadFocus = panel.contains(document.activeElement);
  panel.hidden = true;
  panel.replaceChildren();
  area.remove();
  mark([]);
  map.invalidateSize({ pan: false });
  if (hadFocus) root.focus({ preventScroll: true });
}

/** Closes the panel and gives the focus back to the map. */
export function closePanel() {
  hidePanel();
  rememberClosed();
  root.focus({ preventScroll: true });
}
