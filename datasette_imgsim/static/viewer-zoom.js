// The picture of the viewer in its full size, which one scrolls, or fitted into the window.

const ZOOMED = "imgsim-zoomed";

/** Fits the picture into the window. */
export const resetZoom = (view) => setZoom(view, false);

function setZoom({ stage, zoom }, zoomed) {
  stage.classList.toggle(ZOOMED, zoomed);
  zoom.textContent = zoomed ? "−" : "+";
  zoom.ariaLabel = zoomed ? "Fit into the window" : "Full size";
}

// `at` is where on the picture, 0 to 1: it comes into the middle.
function toggle(view, at = { x: 0.5, y: 0.5 }) {
  const { stage } = view;
  setZoom(view, !stage.classList.contains(ZOOMED));
  stage.scrollLeft = at.x * stage.scrollWidth - stage.clientWidth / 2;
  stage.scrollTop = at.y * stage.scrollHeight - stage.clientHeight / 2;
}

/** Lets a click on the picture and the button zoom. */
export function watchZoom(view) {
  view.zoom.addEventListener("click", () => toggle(view));
  view.picture.addEventListener("click", (event) => {
    const box = view.picture.getBoundingClientRect();
    toggle(view, {
      x: (event.clientX - box.left) / box.width,
      y: (event.clientY - box.top) / box.height,
    });
  });
}
