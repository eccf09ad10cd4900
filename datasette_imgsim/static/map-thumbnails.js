// Lists of small pictures in the panel.

import { make, opensElsewhere } from "./elements.js";
import { picture } from "./map-page.js";

/** A list of small pictures; `open` is called with the row of the one that is clicked. */
export function thumbnails(rows, open) {
  const list = make("ul", { className: "imgsim-thumbs" });
  list.setAttribute("role", "list");
  list.append(...rows.map((row) => thumbnail(row, open)));
  return list;
}

function thumbnail(row, open) {
  const link = make("a", { href: row.href, title: row.name }, picture(row, { loading: "lazy" }));
  link.addEventListener("click", (event) => {
    if (opensElsewhere(event)) return;
    event.preventDefault();
    open(row);
  });
  return make("li", {}, link);
}
