// The names of groups over the map, each in the thick of its images: as many as have room at a
// zoom, those of large groups first. A click on one dims the images of all others.

import { make, opensElsewhere } from "./elements.js";
import { imagesUrl, inView } from "./map-address.js";
import { L, map } from "./map-leaflet.js";
import { root } from "./map-page.js";
import { latLng } from "./map-places.js";
import { attempt, fetchJson, latest } from "./map-requests.js";

const ROOM = { x: 28, y: 36 }; // pixels that stay free between two names
const LEAST = 0.4; // a group that is smaller on the screen than this share of its name has none

let labels = []; // {link, group, width, height}, the chosen one first, then the largest
const pane = map.createPane("groups");
pane.setAttribute("role", "group");
pane.setAttribute("aria-label", "Groups");

const chosen = new URLSearchParams(root.dataset.query).get("_in_group");

/** Shows the names of the groups, if there are any. */
export async function showLabels() {
  if (!("groups" in root.dataset)) return;
  await attempt(async () => {
    const { groups } = await fetchJson(imagesUrl({ groups: 1, _size: 1 }), latest()());
    const isChosen = ({ id }) => String(id) === chosen;
    labels = [...groups.filter(isChosen), ...groups.filter((each) => !isChosen(each))].map(label);
    // All are measured while they are shown.
    for (const each of labels) {
      each.width = each.link.offsetWidth;
      each.height = each.link.offsetHeight;
    }
    arrange();
  }, latest()());
}

function label(group) {
  const isChosen = String(group.id) === chosen;
  const count = `${group.images.toLocaleString("en")} image${group.images === 1 ? "" : "s"}`;
  const link = make("a", { className: "imgsim-label", title: `${group.name}: ${count}` }, group.name);
  link.append(make("span", { className: "imgsim-spoken" }, `, group of ${count}`));
  link.draggable = false;
  link.href = address(group.id, isChosen);
  if (isChosen) link.setAttribute("aria-current", "true");
  link.addEventListener("click", (event) => {
    event.stopPropagation(); // it opens no image
    if (map.dragging?.moved()) event.preventDefault();
    else if (!opensElsewhere(event)) link.href = address(group.id, isChosen);
  });
  const icon = L.divIcon({ html: link, className: "imgsim-place", iconSize: [0, 0] });
  L.marker(latLng(group), { icon, pane: "groups", interactive: false, keyboard: false }).addTo(map);
  return { link, group };
}

// The chosen group is no longer chosen by a click on its name.
const address = (id, isChosen) => inView({ _in_group: isChosen ? null : id });

// Shows the names that have room. Which ones depends on the zoom, and not on the part in view,
// but for those that would stand over its edge or below a control.
function arrange() {
  if (!Number.isInteger(map.getZoom())) return;
  const inTheWay = controls();
  const edge = map.getSize();
  const shown = [];
  for (const each of labels) {
    const box = boxOf(each);
    const isLarge = 2 * each.group.spread * 2 ** map.getZoom() >= LEAST * each.width;
    const hasRoom = !shown.some((other) => overlap(box, other, ROOM));
    if ((isLarge && hasRoom) || isFirst(each)) shown.push(box);
    const fits = box.left >= 0 && box.top >= 0 && box.right <= edge.x && box.bottom <= edge.y;
    const isFree = !inTheWay.some((other) => overlap(box, other, { x: 4, y: 4 }));
    each.link.hidden = !(shown.includes(box) && fits && isFree);
  }
}

const isFirst = (each) => each === labels[0] && String(each.group.id) === chosen;

// Where a name is in the window of the map, in pixels.
function boxOf({ group, width, height }) {
  const { x, y } = map.latLngToContainerPoint(latLng(group));
  return {
    left: x - width / 2,
    right: x + width / 2,
    top: y - height / 2,
    bottom: y + height / 2,
  };
}

// Where controls lie over the map.
function controls() {
  const { left, top } = root.getBoundingClientRect();
  const elements = [...root.querySelectorAll(".leaflet-control"), ...legends()];
  return elements.map((element) => {
    const box = element.getBoundingClientRect();
    return {
      left: box.left - left,
      right: box.right - left,
      top: box.top - top,
      bottom: box.bottom - top,
    };
  });
}

const legends = () => document.querySelectorAll(".imgsim-legend:not([hidden])");

function overlap(a, b, room) {
  return (
    a.left < b.right + room.x &&
    b.left < a.right + room.x &&
    a.top < b.bottom + room.y &&
    b.top < a.bottom + room.y
  );
}

map.on("moveend zoomend resize imgsim-view", arrange);
