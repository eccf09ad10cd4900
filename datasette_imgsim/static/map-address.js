// What is shown, as the page's address has it, and the addresses to ask the server.
//
// Opening an image or an area is a step of the browser's history; moving about only changes the
// address of the step one is at. Each step knows how many things were opened before it.

import { map } from "./map-leaflet.js";
import { mapUrl, root, wall } from "./map-page.js";

/** The place {x, y, zoom} that the page's address names, or null. */
export function askedPlace() {
  const view = (query().get("at") || "").split("/").map(Number);
  const [zoom, x, y] = view;
  return view.length === 3 && view.every(Number.isFinite) ? { x, y, zoom } : null;
}

/**
 * The column that frames are coloured by, the value of its legend that is chosen, and the area or
 * the image that is open.
 */
export const state = asked();

function query() {
  return new URL(location.href).searchParams;
}

function asked() {
  const names = ["color", "value", "bbox", "id"];
  const found = query();
  return Object.fromEntries(names.map((name) => [name, found.get(name)]));
}

/**
 * An address with the space, the filter and the view of the page; values that are missing are left
 * out, lists are repeated.
 */
export const address = (base, values) => joined(base, root.dataset.query, { view: wall, ...values });

/** The address of the same images as rows of the table, in the given format. */
export function rowsAddress(values, format = "") {
  const [base, query] = root.dataset.rows.split("?");
  return joined(base + format, query, values);
}

function joined(base, text, values = {}) {
  const found = new URLSearchParams(text);
  for (const [name, value] of Object.entries(values)) {
    found.delete(name);
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined) found.append(name, each);
    }
  }
  const all = found.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
  return all ? `${base}?${all}` : base;
}

/** The address of images on the map and where they are, as JSON. */
export const imagesUrl = (values) => address(`${mapUrl}.json`, values);

/** The parameters that choose how frames look, and which images stand for others. */
export const framed = () => ({
  color: state.color,
  value: state.color === null ? null : state.value,
});

/** The address of what is in view, with other parameters. */
export const inView = (values) => address(location.pathname, { at: at(), ...framed(), ...values });

function here() {
  const { bbox, id } = state;
  return inView({ bbox, id });
}

function at() {
  const { lat, lng } = map.getCenter();
  return [Math.round(map.getZoom()), lng.toFixed(2), (-lat).toFixed(2)].join("/");
}

const openedBefore = () => history.state?.opened || 0;
let isReturning = false; // whether closing goes back in the history

/** Puts what is shown into the page's address. */
export function remember() {
  if (!isReturning) history.replaceState(history.state, "", here());
}

/** Puts what was opened into the address, as a step that Back undoes. */
export function rememberOpened() {
  const { bbox, id } = asked();
  if (bbox === state.bbox && id === state.id) return remember();
  history.pushState({ opened: openedBefore() + 1 }, "", here());
}

/** Takes what was open out of the address: one is again at the step before the first opening. */
export function rememberClosed() {
  state.bbox = state.id = null;
  isReturning = openedBefore() > 0;
  if (isReturning) history.go(-openedBefore());
  else remember();
}

/** Calls `show` when one goes back or forward and `state` has become what was shown there. */
export function onReturn(show) {
  addEventListener("popstate", () => {
    if (isReturning) {
      isReturning = false;
      return remember();
    }
    Object.assign(state, asked());
    show();
  });
}

map.on("moveend", remember);
