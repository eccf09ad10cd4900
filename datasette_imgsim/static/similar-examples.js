// + and − of the results, and × in the basket of examples, act in place.

import { opensElsewhere } from "./elements.js";
import { load } from "./live.js";

/** Lets the links that move an example act without leaving the page. */
export function followExamples() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.imgsim-example");
    if (!link || opensElsewhere(event)) return;
    event.preventDefault();
    link.focus({ preventScroll: true }); // some browsers do not focus a link that is clicked
    load(link.href, { push: true, said: link.dataset.said });
  });
}
