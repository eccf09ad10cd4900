// One image in the panel: its picture, its columns, and where its neighbours are.

import { make } from "./elements.js";
import { address, imagesUrl, rememberOpened, state } from "./map-address.js";
import { map } from "./map-leaflet.js";
import { area, mark } from "./map-marks.js";
import { picture, say } from "./map-page.js";
import { newPanelSignal, showPanel } from "./map-panel.js";
import { latLng } from "./map-places.js";
import { attempt, fetchJson } from "./map-requests.js";
import { thumbnails } from "./map-thumbnails.js";
import { unlimit } from "./map-zoom.js";

const NEIGHBOURS = 12;

/**
 * Opens the image of an id. The map moves just as far as it must; it flies there with `fly`, and
 * stays with `stay`. `notes` are shown below the picture, `focus` sends the focus to the panel.
 */
export async function openImage(id, { fly = false, stay = false, notes = [], focus } = {}) {
  const signal = newPanelSignal();
  say("");
  await attempt(async () => {
    const { rows } = await fetchJson(imagesUrl({ id }), signal);
    if (!rows.length) throw new Error(`The image ${id} is not on this map`);
    const [row] = rows;
    state.id = row.key;
    state.bbox = null;
    rememberOpened();
    area.remove();
    const list = thumbnails([], openThumbnail);
    showPanel(...aboutImage(row, list, notes), { focus });
    mark([{ ...row, kind: "chosen" }]);
    if (fly) flyTo(row);
    else if (!stay) map.panInside(latLng(row), { padding: [60, 60] });
    await showNeighbours(row, list, signal);
  }, signal);
}

function flyTo(row) {
  unlimit();
  map.flyTo(latLng(row), Math.max(map.getZoom(), row.zoom), { duration: 0.8 });
}

// [heading, everything else]
function aboutImage(row, list, notes) {
  const shot = picture(row, { className: "imgsim-shot" });
  if (row.large) {
    const thumbnail = shot.src;
    shot.addEventListener("error", () => (shot.src = thumbnail), { once: true });
    shot.src = row.large;
  }
  const facts = Object.entries({ x: row.x.toFixed(3), y: row.y.toFixed(3), ...row.columns });
  const body = make("tbody");
  for (const [name, value] of facts) {
    if (value === null || value === "") continue;
    body.append(make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value))));
  }
  const placed = "Placed between its neighbours; the others were laid out without it.";
  return [
    make("h2", {}, make("a", { href: row.row }, row.name)),
    [
      make("a", { href: row.href }, shot),
      ...notes,
      ...(row.placed === "interpolated" ? [make("p", { className: "imgsim-quiet" }, placed)] : []),
      make("h3", {}, make("a", { href: row.href }, "Similar images")),
      list,
      make("table", { className: "imgsim-table" }, body),
    ],
  ];
}

async function showNeighbours(row, list, signal) {
  const url = address(row.href.split("?")[0] + ".json", { _size: NEIGHBOURS });
  const { rows } = await fetchJson(url, signal);
  if (!rows.length) return;
  const ids = rows.map((each) => each.key);
  const { rows: places } = await fetchJson(imagesUrl({ id: ids }), signal);
  mark([{ ...row, kind: "chosen" }, ...places.map((each) => ({ ...each, kind: "neighbour" }))]);
  list.replaceWith(thumbnails(places, openThumbnail));
}

/** Opens an image of a list in the panel, and goes to it. */
export const openThumbnail = (row) => openImage(row.key, { fly: true });
