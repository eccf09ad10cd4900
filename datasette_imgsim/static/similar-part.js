// On the similar page: a part of the picture is drawn, or given by its edges.

import { addressOf, Drawing } from "./part-drawing.js";

const valuesOf = (fields) => fields.map((field) => Number(field.value));

/** Lets people draw on the picture while the details of the form are open. */
export function followPart() {
  const form = document.querySelector(".imgsim-cropping");
  const picture = document.querySelector(".imgsim-picked img");
  if (!form || !picture) return;
  const fields = [...form.querySelectorAll("[name=crop]")];
  const details = form.querySelector("details");
  const go = (box) => location.assign(addressOf(location.href, box));
  const drawing = new Drawing(picture, document.querySelector(".imgsim-part"), go);
  document.querySelector(".imgsim-picked").append(drawing.layer);

  details.addEventListener("toggle", () => (drawing.on = details.open));
  form.addEventListener("input", () => {
    const [left, top, right, bottom] = valuesOf(fields);
    fields[2].setCustomValidity(left < right ? "" : "The right edge is right of the left one");
    fields[3].setCustomValidity(top < bottom ? "" : "The bottom edge is below the top one");
    drawing.show([left, top, right, bottom]);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go(valuesOf(fields));
  });
  form.querySelector("[data-drawing]").hidden = false;
  form.querySelector("[data-fields]").hidden = true;
}
