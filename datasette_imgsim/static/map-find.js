// Finding an image by its id or name.

import { find, make } from "./elements.js";
import { imagesUrl } from "./map-address.js";
import { openImage } from "./map-image.js";
import { picture, say } from "./map-page.js";
import { attempt, debounced, fetchJson, latest } from "./map-requests.js";

const FIND_MS = 200;

const form = find("find");
const input = document.getElementById("imgsim-find");
const hits = find("hits");
const newSignal = latest();

async function search() {
  const text = input.value.trim();
  const signal = newSignal();
  say("");
  if (!text) {
    hits.hidden = true;
    return [];
  }
  return await attempt(async () => {
    const { rows } = await fetchJson(imagesUrl({ find: text }), signal);
    hits.replaceChildren(...rows.map(hit));
    if (!rows.length) hits.append(make("li", { className: "imgsim-quiet" }, "Nothing found"));
    hits.hidden = false;
    return rows;
  }, signal);
}

function hit(row) {
  const button = make("button", { type: "button" }, picture(row, { alt: "" }), row.name);
  button.addEventListener("click", () => goTo(row));
  return make("li", {}, button);
}

function goTo(row) {
  hits.hidden = true;
  openImage(row.key, { fly: true });
}

input.addEventListener("input", debounced(FIND_MS, search));
input.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hits.hidden = true;
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const rows = await search();
  if (rows?.length) goTo(rows[0]);
});
addEventListener("click", (event) => {
  if (!form.contains(event.target)) hits.hidden = true;
});
