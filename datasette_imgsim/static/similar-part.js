// On the similar page: a part of the picture is drawn, or given by its edges.

import { addressOf, Drawing } from "./part-drawing.js";

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
  form.addEventListener("input", () => drawing.show(fields.map((field) => Number(field.value))));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go(fields.map((field) => Number(field.value)));
  });
  form.querySelector("[data-drawing]").hidden = false;
  form.querySelector("[data-fields]").hidden = true;
}
