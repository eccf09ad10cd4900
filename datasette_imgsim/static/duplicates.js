// The page of duplicates: a slider on each picture lays the one to keep over it, from the left.

import { watchOpeners } from "./viewer.js";

for (const slider of document.querySelectorAll(".imgsim-slider")) {
  const over = slider.closest(".imgsim-tile").querySelector(".imgsim-over");
  const range = slider.querySelector("input");
  const lay = () => {
    over.hidden = range.value === "0";
    over.style.clipPath = `inset(0 ${100 - range.value}% 0 0)`;
    range.setAttribute("aria-valuetext", `${range.value} % of it`);
  };
  range.addEventListener("input", lay);
  slider.hidden = false;
  lay();
}
watchOpeners();
