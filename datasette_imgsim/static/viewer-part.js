// In the viewer: a part of the picture is drawn, to search by it.

import { make } from "./elements.js";
import { addressOf, Drawing } from "./part-drawing.js";

/** A button that lets people draw on the picture; `before` is called when they begin. */
export function partButton(view, before) {
  const button = make("button", { type: "button", className: "imgsim-view-part" }, "Search by a part");
  const drawing = new Drawing(view.picture, null, (box) => location.assign(addressOf(view.similar.href, box)));

  function set(isOn) {
    button.setAttribute("aria-pressed", isOn);
    button.textContent = isOn ? "Draw a frame on the picture" : "Search by a part";
    drawing.on = isOn;
    if (!isOn) drawing.show(null);
  }

  button.addEventListener("click", () => {
    before();
    set(button.getAttribute("aria-pressed") !== "true");
  });
  // Pictures are sent to the server's network where one's own may be.
  button.hidden = !document.querySelector("[data-upload]");
  if (!button.hidden) view.stage.append(drawing.layer);
  set(false);
  return { button, stop: () => set(false) };
}
