// A finger that moves over the picture sideways turns to the next one.

const FAR = 50; // pixels

/** Calls `go` with 1 or -1; a picture in its full size is scrolled instead. */
export function watchSwipes(stage, go) {
  let start = null;
  stage.addEventListener(
    "touchstart",
    ({ touches }) => {
      const scrolls = stage.classList.contains("imgsim-zoomed");
      start = touches.length === 1 && !scrolls ? touches[0] : null;
    },
    { passive: true },
  );
  stage.addEventListener("touchend", ({ changedTouches }) => {
    if (!start) return;
    const [{ clientX, clientY }] = changedTouches;
    const [x, y] = [clientX - start.clientX, clientY - start.clientY];
    start = null;
    if (Math.abs(x) > FAR && Math.abs(x) > 2 * Math.abs(y)) go(x < 0 ? 1 : -1);
  });
}
