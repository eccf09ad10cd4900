// The links between the map and the wall, which lead to the image and the colours that are shown.

import { address, state } from "./map-address.js";
import { mapUrl } from "./map-page.js";

for (const link of document.querySelectorAll(".imgsim-layouts a")) {
  link.addEventListener("click", () => {
    const view = link.dataset.view === "wall" ? "wall" : null;
    link.href = address(mapUrl, { view, color: state.color, id: state.id });
  });
}
