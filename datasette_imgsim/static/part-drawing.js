// A frame that is drawn on a picture, with a mouse, a pen or a finger.

const SVG = "http://www.w3.org/2000/svg";
const LEAST = 8; // pixels of the screen: less is a click
const DECIMALS = 3;

/** A frame as in an address: x0,y0,x1,y1, shares of the picture's width and height. */
export const textOf = (box) => box.map((edge) => Number(edge.toFixed(DECIMALS))).join(",");

/** The same address for a part of its picture, on the first page of its results. */
export function addressOf(href, box) {
  const url = new URL(href, location.href);
  // By hand, so that pool5:1,pool3:.5 and the edges stay readable.
  const kept = url.search.slice(1).split("&").filter((pair) => pair && !/^(_next|crop)=/.test(pair));
  url.search = [...kept, `crop=${textOf(box)}`].join("&");
  return url;
}

function element(tag, attributes) {
  const found = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
  return found;
}

/**
 * A layer over a picture, which fits into its box as object-fit: contain does. While it is `on`,
 * one can draw on it, and `drawn` gets the frame.
 */
export class Drawing {
  constructor(picture, layer, drawn) {
    this.picture = picture;
    this.layer = layer || element("svg", { class: "imgsim-part", "aria-hidden": "true" });
    this.drawn = drawn;
    this.layer.addEventListener("pointerdown", (event) => this.start(event));
    this.layer.addEventListener("pointermove", (event) => this.from && this.show(this.boxTo(event)));
    this.layer.addEventListener("pointerup", (event) => this.finish(event));
    this.layer.addEventListener("pointercancel", () => (this.from = null));
    // Neither a swipe nor a click on what lies below.
    for (const name of ["touchstart", "touchend", "click"]) {
      this.layer.addEventListener(name, (event) => event.stopPropagation(), { passive: true });
    }
  }

  set on(isOn) {
    this.layer.classList.toggle("imgsim-drawn-on", isOn);
  }

  get size() {
    return [this.picture.naturalWidth || 1, this.picture.naturalHeight || 1];
  }

  /** Draws a frame; none without one. */
  show(box) {
    this.layer.replaceChildren();
    if (!box) return;
    const [w, h] = this.size;
    const [x0, y0, x1, y1] = [box[0] * w, box[1] * h, box[2] * w, box[3] * h];
    const frame = `M${x0} ${y0}H${x1}V${y1}H${x0}Z`;
    this.layer.setAttribute("viewBox", `0 0 ${w} ${h}`);
    this.layer.append(
      element("path", { class: "imgsim-beside", d: `M0 0H${w}V${h}H0Z ${frame}` }),
      element("path", { class: "imgsim-edge", d: frame }),
    );
  }

  start(event) {
    if (event.button || !event.isPrimary) return;
    event.preventDefault();
    this.layer.setPointerCapture(event.pointerId);
    this.from = { x: event.clientX, y: event.clientY };
  }

  finish(event) {
    if (!this.from) return;
    const { x, y } = this.from;
    const box = this.boxTo(event);
    this.from = null;
    const isFrame = Math.min(Math.abs(event.clientX - x), Math.abs(event.clientY - y)) >= LEAST;
    if (isFrame && box[0] < box[2] && box[1] < box[3]) this.drawn(box);
  }

  boxTo(event) {
    const places = [this.placeOf(this.from.x, this.from.y), this.placeOf(event.clientX, event.clientY)];
    const [xs, ys] = [0, 1].map((axis) => places.map((place) => place[axis]).sort((a, b) => a - b));
    return [xs[0], ys[0], xs[1], ys[1]];
  }

  // Where on the picture, 0 to 1; what is beside it counts as its edge.
  placeOf(x, y) {
    const frame = this.layer.getBoundingClientRect();
    const [w, h] = this.size;
    const scale = Math.min(frame.width / w, frame.height / h);
    const left = frame.left + (frame.width - w * scale) / 2;
    const top = frame.top + (frame.height - h * scale) / 2;
    return [(x - left) / (w * scale), (y - top) / (h * scale)].map((share) => Math.min(1, Math.max(0, share)));
  }
}
