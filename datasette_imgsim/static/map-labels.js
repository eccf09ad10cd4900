// The names of groups over the map, each in the thick of its images: as many as have room at a
// zoom, those of large groups first. A click on one dims the images of all others, and a click on
// that one again shows all.

import { find, make, opensElsewhere } from "./elements.js";
import { imagesUrl, inView } from "./map-address.js";
import { chosenGroup, filterBy } from "./map-filter.js";
import { L, map } from "./map-leaflet.js";
import { root } from "./map-page.js";
import { latLng } from "./map-places.js";
import { attempt, fetchJson, latest } from "./map-requests.js";

const ROOM = { x: 32, y: 40 }; // pixels that stay free between two names
const NEAR = { x: 4, y: 4 }; // the same between a name and a control
const LEAST = 0.4; // a group that is smaller on the screen than this share of its name has none

let labels = []; // {link, group: {id, name, images, x, y, spread}, width, height}, in pixels
const newSignal = latest();

/** Shows the names of the groups, if there are any. */
export async function showLabels() {
  if (!("groups" in root.dataset)) return;
  const signal = newSignal();
  await attempt(async () => {
    const { groups } = await fetchJson(imagesUrl({ groups: 1, _size: 1 }), signal);
    const pane = map.createPane("groups");
    pane.setAttribute("role", "group");
    pane.setAttribute("aria-label", "Groups");
    labels = groups.map(label);
    for (const each of labels) {
      // Measured while all are shown.
      each.width = each.link.offsetWidth;
      each.height = each.link.offsetHeight;
    }
    arrange();
  }, signal);
}

function label(group) {
  const count = `${group.images.toLocaleString("en")} image${group.images === 1 ? "" : "s"}`;
  const said = make("span", { className: "imgsim-spoken" }, `, a group of ${count}`);
  const properties = { className: "imgsim-label", title: `${group.name}: ${count}` };
  const link = make("a", { ...properties, href: address(group), draggable: false }, group.name, said);
  link.addEventListener("click", (event) => {
    event.stopPropagation(); // else the image below it opens
    if (opensElsewhere(event)) return;
    event.preventDefault();
    if (!map.dragging.moved()) filterBy(address(group), { push: true });
  });
  const icon = L.divIcon({ html: link, className: "imgsim-place", iconSize: [0, 0] });
  L.marker(latLng(group), { icon, pane: "groups", interactive: false, keyboard: false }).addTo(map);
  return { link, group };
}

const isChosen = ({ id }) => String(id) === chosenGroup();

const address = (group) => inView({ _in_group: isChosen(group) ? null : group.id });

// Shows the names that have room. Which ones depends on the zoom and not on the part in view, but
// for those that would stand over its edge or below a control.
function arrange() {
  const zoom = map.getZoom();
  if (!Number.isInteger(zoom)) return; // in flight: its end arranges them
  const edge = map.getSize();
  const inTheWay = controls();
  const placed = [];
  const first = labels.filter(({ group }) => isChosen(group));
  for (const each of new Set([...first, ...labels])) {
    const { link, group, width } = each;
    const box = boxOf(each);
    const isLarge = 2 * group.spread * 2 ** zoom >= LEAST * width || isChosen(group);
    const hasRoom = isLarge && !placed.some((other) => overlap(box, other, ROOM));
    if (hasRoom) placed.push(box);
    const isWithin = box.left >= 0 && box.top >= 0 && box.right <= edge.x && box.bottom <= edge.y;
    const isFree = !inTheWay.some((other) => overlap(box, other, NEAR));
    link.hidden = !(hasRoom && isWithin && isFree);
    link.href = address(group);
    if (isChosen(group)) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

// The box of a name in the window of the map, in pixels.
function boxOf({ group, width, height }) {
  const { x, y } = map.latLngToContainerPoint(latLng(group));
  const [left, top] = [x - width / 2, y - height / 2];
  return { left, top, right: left + width, bottom: top + height };
}

// The boxes of what lies over the map.
function controls() {
  const window = root.getBoundingClientRect();
  return [...root.querySelectorAll(".leaflet-bar"), find("legend")].map((element) => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    return {
      left: left - window.left,
      top: top - window.top,
      right: right - window.left,
      bottom: bottom - window.top,
    };
  });
}

const overlap = (a, b, room) =>
  a.left < b.right + room.x &&
  b.left < a.right + room.x &&
  a.top < b.bottom + room.y &&
  b.top < a.bottom + room.y;

map.on("moveend resize imgsim-view imgsim-filter", arrange);
