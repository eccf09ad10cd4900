// Finding an image by its id or by text. The list is operated from the field: arrow keys choose,
// Enter opens, Escape closes.

import { find, make } from "./elements.js";
import { imagesUrl } from "./map-address.js";
import { openImage } from "./map-image.js";
import { picture } from "./map-page.js";
import { attempt, debounced, fetchJson, latest } from "./map-requests.js";

const FIND_MS = 200;

const form = find("find");
const input = document.getElementById("imgsim-find");
const list = find("hits");
const spoken = find("found");
const newSignal = latest();

let found = { text: "", rows: [] };
let active = -1; // the number of the row that is chosen

async function search() {
  const text = input.value.trim();
  const signal = newSignal();
  if (!text) {
    found = { text, rows: [] };
    return close();
  }
  await attempt(async () => {
    const { rows } = await fetchJson(imagesUrl({ find: text }), signal);
    found = { text, rows };
    open();
  }, signal);
}

function open() {
  const { rows } = found;
  list.replaceChildren(...rows.map(option));
  find("nohits").hidden = rows.length > 0;
  list.hidden = rows.length === 0;
  input.setAttribute("aria-expanded", rows.length > 0);
  const words = rows.length === 1 ? "1 image found" : `${rows.length} images found`;
  const outside = rows.filter(isOutside).length;
  spoken.textContent = outside ? `${words}, ${outside} outside the filter` : words;
  choose(-1);
}

function close() {
  newSignal();
  list.hidden = find("nohits").hidden = true;
  input.setAttribute("aria-expanded", false);
  spoken.textContent = "";
  choose(-1);
}

// With a filter, those that pass it come first.
const isOutside = (row) => row.selected === false;

function option(row, number) {
  const words = make("span", {}, row.name);
  const details = [row.detail, isOutside(row) && "outside the filter"].filter(Boolean);
  if (details.length) {
    words.append(make("span", { className: "imgsim-quiet" }, details.join(" · ")));
  }
  const item = make("li", { id: `imgsim-hit-${number}` }, picture(row, { alt: "" }), words);
  item.setAttribute("role", "option");
  item.addEventListener("mousedown", (event) => event.preventDefault()); // the focus stays
  item.addEventListener("click", () => goTo(row));
  return item;
}

function choose(number) {
  active = number;
  for (const [place, item] of [...list.children].entries()) {
    item.setAttribute("aria-selected", place === active);
  }
  const chosen = list.children[active];
  if (chosen) input.setAttribute("aria-activedescendant", chosen.id);
  else input.removeAttribute("aria-activedescendant");
  chosen?.scrollIntoView({ block: "nearest" });
}

function goTo(row) {
  close();
  openImage(row.key, { fly: true, focus: true });
}

function move(step) {
  if (list.hidden) return found.rows.length ? open() : search();
  const { length } = found.rows;
  choose(active < 0 && step < 0 ? length - 1 : (active + step + length) % length);
}

input.addEventListener("input", debounced(FIND_MS, search));
input.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") move(1);
  else if (event.key === "ArrowUp") move(-1);
  else if (event.key === "Escape") escape();
  else return;
  event.preventDefault();
});

// The first time it closes the list, the second time it empties the field.
function escape() {
  if (list.hidden && find("nohits").hidden) input.value = "";
  close();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (found.text !== input.value.trim()) await search();
  const row = found.rows[Math.max(0, active)];
  if (row) goTo(row);
});
form.addEventListener("focusout", (event) => {
  if (!form.contains(event.relatedTarget)) close();
});
