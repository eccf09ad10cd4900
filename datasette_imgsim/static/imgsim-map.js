// The map: tiles that the server draws, and what happens when one points at a picture.

const CELLS_A_TILE = 4;
const SIDE = 256;
const ROWS = 1000;
const NEIGHBOURS = 12;
const SHOWN_OF_AREA = 60;
const RETRY_MS = 1000;
const LOAD_MS = 150;
const FIND_MS = 200;
const MARK = { chosen: "#ffb000", neighbour: "#35d0ff" };

const find = (name) => document.querySelector(`.imgsim-${name}`);
const root = find("map");
const panel = find("panel");
const hover = find("hover");
const status = find("status");
const { map: mapUrl, gallery, rows: rowsUrl } = root.dataset;
const deepest = Number(root.dataset.deepest);
const asked = new URL(location.href).searchParams;
const state = {
  space: asked.get("space"),
  color: asked.get("color"),
  bbox: asked.get("bbox"),
  id: asked.get("id"),
};

const L = await import(root.dataset.leaflet);
const world = L.latLngBounds([
  [-SIDE, 0],
  [0, SIDE],
]);
const map = L.map(root, {
  crs: L.CRS.Simple,
  minZoom: 0,
  maxZoom: deepest,
  maxBounds: world.pad(0.5),
  attributionControl: false,
});
let layer;
let shown = new Map(); // the images in view, by their cell
let chosen = []; // {x, y, kind} of the images that are marked
const marks = L.layerGroup().addTo(map);
const area = L.rectangle(world, { color: MARK.chosen, weight: 2, fillOpacity: 0.12 });

// Addresses

function address(base, values = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ space: state.space, ...values })) {
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") query.append(name, each);
    }
  }
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
  return text ? `${base}?${text}` : base;
}

async function fetchJson(url, signal) {
  for (;;) {
    const response = await fetch(url, { signal });
    const answer = await response.json();
    if (answer.ok) return answer;
    if (!answer.loading) throw new Error(answer.error);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

const at = () => {
  const { lat, lng } = map.getCenter();
  return [Math.round(map.getZoom()), lng.toFixed(2), (-lat).toFixed(2)].join("/");
};

function remember() {
  const { color, bbox, id } = state;
  history.replaceState(null, "", address(location.pathname, { at: at(), color, bbox, id }));
}

// Asks for something again and again, of which only the last answer counts.
function latest() {
  let running = new AbortController();
  return () => {
    running.abort();
    running = new AbortController();
    return running.signal;
  };
}

async function attempt(work, signal) {
  try {
    return await work();
  } catch (error) {
    if (signal.aborted) return;
    say(error instanceof TypeError ? "The server could not be reached: try again" : error.message);
  }
}

function say(text) {
  status.textContent = text;
}

function debounced(wait, work) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, wait);
  };
}

// Where things are

const latLng = ({ x, y }) => L.latLng(-y, x);
const cellSide = (zoom = map.getZoom()) => SIDE / (CELLS_A_TILE * 2 ** zoom);
const cellOf = ({ x, y }, side = cellSide()) => [Math.floor(x / side), Math.floor(y / side)];

function cellBox(place) {
  const side = cellSide();
  const [column, line] = cellOf(place, side);
  return [column * side, line * side, (column + 1) * side, (line + 1) * side];
}

const boxBounds = ([x0, y0, x1, y1]) =>
  L.latLngBounds([
    [-y1, x0],
    [-y0, x1],
  ]);

function boxOf(bounds) {
  const box = [bounds.getWest(), -bounds.getNorth(), bounds.getEast(), -bounds.getSouth()];
  return box.map((value) => Math.min(SIDE, Math.max(0, value)).toFixed(3));
}

// Tiles and frames

function draw() {
  const version = root.dataset.generation;
  const url = `${gallery}/tiles/{z}/{x}/{y}{r}.jpg`;
  const fresh = L.tileLayer(address(url, { color: state.color, v: version }), {
    bounds: world,
    noWrap: true,
    maxZoom: deepest,
  }).addTo(map);
  const old = layer;
  layer = fresh;
  if (old) fresh.once("load", () => old.remove());
}

const colourSelect = find("colour").querySelector("select");
colourSelect.value = state.color || "";
colourSelect.addEventListener("change", () => {
  state.color = colourSelect.value || null;
  draw();
  showLegend();
  remember();
});

const legendSignal = latest();
async function showLegend() {
  const legend = find("legend");
  const signal = legendSignal();
  if (!state.color) {
    legend.hidden = true;
    return;
  }
  await attempt(async () => {
    const url = address(`${mapUrl}.json`, { color: state.color, _size: 1 });
    const answer = await fetchJson(url, signal);
    legend.replaceChildren(...legendOf(answer.legend));
    legend.hidden = false;
  }, signal);
}

function legendOf({ kind, entries, low, high, colors }) {
  if (kind === "number") {
    const bar = make("span", { className: "imgsim-scale" });
    bar.style.background = `linear-gradient(to right, ${colors.join(", ")})`;
    return [make("span", {}, String(low)), bar, make("span", {}, String(high))];
  }
  return entries.map(({ label, color, count }) => {
    const swatch = make("span", { className: "imgsim-swatch" });
    swatch.style.background = color;
    const many = make("span", { className: "imgsim-quiet" }, count.toLocaleString("en"));
    return make("span", { className: "imgsim-entry" }, swatch, label || "(empty)", " ", many);
  });
}

// The images in view

const viewSignal = latest();
async function loadView() {
  const signal = viewSignal();
  const zoom = map.getZoom();
  if (!Number.isInteger(zoom)) return; // in flight: its end asks again
  const found = new Map();
  await attempt(async () => {
    const box = boxOf(map.getBounds()).join(",");
    const side = cellSide(zoom);
    let next;
    do {
      const url = address(`${mapUrl}.json`, { z: zoom, bbox: box, _size: ROWS, _next: next });
      const answer = await fetchJson(url, signal);
      for (const row of answer.rows) found.set(String(cellOf(row, side)), row);
      next = answer.next;
    } while (next);
    shown = found;
    root.dataset.loaded = zoom;
  }, signal);
}
const loadViewSoon = debounced(LOAD_MS, loadView);

function imageAt({ lat, lng }) {
  if (Number(root.dataset.loaded) !== map.getZoom()) return null;
  return shown.get(String(cellOf({ x: lng, y: -lat })));
}

map.on("moveend", () => {
  remember();
  loadViewSoon();
});
map.on("zoomend", drawMarks);

// Pointing

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function picture(row, properties = {}) {
  if (!row.thumbnail) return make("span", { className: "imgsim-none" }, "no thumbnail");
  return make("img", { src: row.thumbnail, alt: row.name, ...properties });
}

let hovered;
map.on("mousemove", ({ latlng, containerPoint }) => {
  const row = selecting ? null : imageAt(latlng);
  root.classList.toggle("imgsim-over", Boolean(row));
  if (row && row !== hovered) {
    const shot = picture(row, { alt: "", onload: () => placeHover(containerPoint) });
    hover.replaceChildren(shot, make("span", {}, nameAndCount(row)));
  }
  hovered = row;
  hover.hidden = !row;
  if (row) placeHover(containerPoint);
});
map.on("mouseout movestart zoomstart click", () => {
  hovered = null;
  hover.hidden = true;
});

function nameAndCount({ name, count }) {
  return count > 1 ? `${name} and ${(count - 1).toLocaleString("en")} more` : name;
}

function placeHover({ x, y }) {
  const { x: width, y: height } = map.getSize();
  const gap = 18;
  const left = x + gap + hover.offsetWidth > width ? x - gap - hover.offsetWidth : x + gap;
  const top = Math.min(y + gap, height - hover.offsetHeight - 4);
  hover.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px)`;
}

map.on("click", ({ latlng }) => openAt(latlng));
root.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return selecting ? selectMode(false) : closePanel();
  if (event.key !== "Enter" || event.target !== root) return;
  if (selecting) setArea(boxOf(map.getBounds()));
  else openAt(map.getCenter());
});

function openAt(latlng) {
  const row = selecting ? null : imageAt(latlng);
  if (!row) return;
  if (row.count > 1 && map.getZoom() === deepest) openStack(row);
  else open(row.key);
}

// The panel

const panelSignal = latest();

function showPanel(...children) {
  const close = make("button", { type: "button", className: "imgsim-close", title: "Close" }, "×");
  close.addEventListener("click", closePanel);
  panel.replaceChildren(close, ...children);
  const wasHidden = panel.hidden;
  panel.hidden = false;
  panel.scrollTop = 0;
  if (wasHidden) map.invalidateSize({ pan: false });
}

function closePanel() {
  panelSignal();
  panel.hidden = true;
  state.id = state.bbox = null;
  area.remove();
  mark([]);
  map.invalidateSize({ pan: false });
  remember();
  root.focus({ preventScroll: true });
}

// One image: its picture, its columns, and where its neighbours are.
async function open(id, { fly = false } = {}) {
  const signal = panelSignal();
  say("");
  await attempt(async () => {
    const { rows } = await fetchJson(address(`${mapUrl}.json`, { id }), signal);
    if (!rows.length) throw new Error(`The image ${id} is not on this map`);
    const [row] = rows;
    state.id = row.key;
    state.bbox = null;
    area.remove();
    const list = thumbs([]);
    const [before, after] = aboutImage(row);
    showPanel(...before, list, after);
    mark([{ ...row, kind: "chosen" }]);
    if (fly) flyTo(row);
    else map.panInside(latLng(row), { padding: [60, 60] });
    remember();
    await showNeighbours(row, list, signal);
  }, signal);
}

// What is shown before its neighbours, and after them.
function aboutImage(row) {
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
  const placed = "Placed between its neighbours since the map was laid out.";
  const before = [
    make("h2", {}, make("a", { href: row.row }, row.name)),
    make("a", { href: row.href }, shot),
    ...(row.placed === "interpolated" ? [make("p", { className: "imgsim-quiet" }, placed)] : []),
    make("h3", {}, make("a", { href: row.href }, "Similar images")),
  ];
  return [before, make("table", { className: "imgsim-table" }, body)];
}

async function showNeighbours(row, list, signal) {
  const url = address(row.href.split("?")[0] + ".json", { _size: NEIGHBOURS });
  const { rows } = await fetchJson(url, signal);
  if (!rows.length) return;
  const ids = rows.map((each) => each.key);
  const { rows: places } = await fetchJson(address(`${mapUrl}.json`, { id: ids }), signal);
  mark([{ ...row, kind: "chosen" }, ...places.map((each) => ({ ...each, kind: "neighbour" }))]);
  list.replaceWith(thumbs(places, { fly: true }));
}

function thumbs(rows, options) {
  const list = make("ul", { className: "imgsim-thumbs", role: "list" });
  list.append(...rows.map((row) => thumb(row, () => open(row.key, options))));
  return list;
}

function thumb(row, onclick) {
  const link = make("a", { href: row.href, title: row.name }, picture(row, { loading: "lazy" }));
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    onclick();
  });
  return make("li", {}, link);
}

async function openStack(row) {
  const box = cellBox(row);
  const signal = panelSignal();
  say("");
  await attempt(async () => {
    const url = address(`${mapUrl}.json`, { bbox: box.join(","), _size: ROWS });
    const { rows, count } = await fetchJson(url, signal);
    state.id = state.bbox = null;
    area.remove();
    mark([{ ...row, kind: "chosen" }]);
    showPanel(make("h2", {}, `${count.toLocaleString("en")} images on this spot`), thumbs(rows));
    remember();
  }, signal);
}

// Marks lie on the cell that an image is drawn in, which depends on the zoom.
function mark(places) {
  chosen = places;
  drawMarks();
}

function drawMarks() {
  marks.clearLayers();
  for (const place of [...chosen].reverse()) {
    const isChosen = place.kind === "chosen";
    const style = { color: MARK[place.kind], weight: isChosen ? 4 : 3, fill: false };
    const bounds = boxBounds(cellBox(place));
    marks.addLayer(L.rectangle(bounds, { ...style, interactive: false, className: place.kind }));
  }
}

function flyTo(row) {
  map.flyTo(latLng(row), Math.max(map.getZoom(), row.zoom), { duration: 0.8 });
}

// Finding

const input = document.getElementById("imgsim-find");
const hits = find("hits");
const findSignal = latest();

async function search() {
  const text = input.value.trim();
  const signal = findSignal();
  say("");
  if (!text) {
    hits.hidden = true;
    return [];
  }
  return await attempt(async () => {
    const { rows } = await fetchJson(address(`${mapUrl}.json`, { find: text }), signal);
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
  open(row.key, { fly: true });
}

input.addEventListener("input", debounced(FIND_MS, search));
input.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hits.hidden = true;
});
find("find").addEventListener("submit", async (event) => {
  event.preventDefault();
  const rows = await search();
  if (rows?.length) goTo(rows[0]);
});
addEventListener("click", (event) => {
  if (!find("find").contains(event.target)) hits.hidden = true;
});

// Selecting an area

const selectButton = find("select");
let selecting = false;
let corner;

function selectMode(on) {
  selecting = on;
  selectButton.setAttribute("aria-pressed", on);
  root.classList.toggle("imgsim-selecting", on);
  map.dragging[on ? "disable" : "enable"]();
  say(on ? "Draw a rectangle on the map, or press Enter on it for all that is in view" : "");
}
selectButton.addEventListener("click", () => selectMode(!selecting));

root.addEventListener(
  "pointerdown",
  (event) => {
    if (!selecting || event.button || event.target.closest(".leaflet-control")) return;
    event.preventDefault();
    event.stopPropagation();
    corner = map.mouseEventToLatLng(event);
    root.setPointerCapture(event.pointerId);
    area.setBounds(L.latLngBounds(corner, corner)).addTo(map);
  },
  true,
);
root.addEventListener("pointermove", (event) => {
  if (corner) area.setBounds(L.latLngBounds(corner, map.mouseEventToLatLng(event)));
});
root.addEventListener("pointerup", (event) => {
  if (!corner) return;
  const bounds = L.latLngBounds(corner, map.mouseEventToLatLng(event));
  corner = null;
  // After the click that ends the drawing, which must not open an image.
  setTimeout(() => setArea(boxOf(bounds)));
});
root.addEventListener("pointercancel", () => {
  corner = null;
  area.remove();
});

async function setArea(box, { fly = false } = {}) {
  selectMode(false);
  const bbox = box.join(",");
  const signal = panelSignal();
  await attempt(async () => {
    const url = address(`${mapUrl}.json`, { bbox, _size: SHOWN_OF_AREA });
    const { rows, count } = await fetchJson(url, signal);
    state.bbox = bbox;
    state.id = null;
    area.setBounds(boxBounds(box.map(Number))).addTo(map);
    mark([]);
    showPanel(...aboutArea(bbox, rows, count));
    if (fly) map.fitBounds(area.getBounds());
    remember();
  }, signal);
}

function aboutArea(bbox, rows, count) {
  const words = count === 1 ? "1 image" : `${count.toLocaleString("en")} images`;
  const links = make("p", { className: "imgsim-links" });
  const addresses = [
    ["Gallery", address(gallery, { bbox })],
    ["JSON", address(`${mapUrl}.json`, { bbox })],
  ];
  if (rowsUrl) {
    const inAtlas = `_in_atlas=${bbox}`;
    addresses.push(["Rows", `${rowsUrl}?${inAtlas}`]);
    const stream = "stream" in root.dataset ? "_stream=on" : "_size=max";
    addresses.push(["CSV", `${rowsUrl}.csv?${inAtlas}&${stream}`]);
  }
  for (const [text, href] of addresses) {
    links.append(make("a", { href }, text), " ");
  }
  return [
    make("h2", {}, `${words} in this area`),
    links,
    thumbs(rows),
    ...(count > rows.length
      ? [make("p", {}, make("a", { href: address(gallery, { bbox }) }, "See them all"))]
      : []),
  ];
}

// The beginning

function showAtFirst() {
  const { x, y } = map.getSize();
  const fitting = Math.round(Math.log2(Math.sqrt(x * y) / SIDE));
  map.setView(world.getCenter(), Math.min(deepest, Math.max(0, fitting)));
}
find("whole").addEventListener("click", () => map.fitBounds(world));

const view = (asked.get("at") || "").split("/").map(Number);
if (view.length === 3 && view.every(Number.isFinite)) {
  map.setView(latLng({ x: view[1], y: view[2] }), Math.min(deepest, Math.max(0, Math.round(view[0]))));
} else {
  showAtFirst();
}
draw();
showLegend();
const fly = !asked.has("at");
if (state.bbox) setArea(state.bbox.split(","), { fly });
else if (state.id) open(state.id, { fly });
