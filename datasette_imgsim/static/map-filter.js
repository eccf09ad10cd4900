// Another filter for the map that is open. What the page says of it is taken from the server's page
// for that filter; the map dims other images.

import { state } from "./map-address.js";
import { showLegend } from "./map-legend.js";
import { map } from "./map-leaflet.js";
import { root } from "./map-page.js";
import { hidePanel } from "./map-panel.js";
import { attempt, latest } from "./map-requests.js";
import { drawTiles } from "./map-tiles.js";
import { loadView } from "./map-view.js";

const newSignal = latest();

/** The id of the group that is chosen, or null. */
export const chosenGroup = () => groupIn(root.dataset.query);

/** Whether the filter of the page's address is the one that is shown. */
export const isFiltered = () => groupIn(location.search) === chosenGroup();

const groupIn = (query) => new URLSearchParams(query).get("_in_group");

/**
 * Shows the map with the filter of an address, which becomes a step of the browser's history with
 * `push`. "imgsim-filter" is fired at the map then.
 */
export async function filterBy(url, { push = false } = {}) {
  const signal = newSignal();
  await attempt(async () => {
    const response = await fetch(url, { signal });
    const fetched = new DOMParser().parseFromString(await response.text(), "text/html");
    const other = fetched.querySelector(".imgsim-map");
    if (!other) return location.assign(url); // it says what is wrong
    const { top } = root.getBoundingClientRect();
    for (const part of document.querySelectorAll("[data-live]")) {
      const { live } = part.dataset;
      part.replaceChildren(...fetched.querySelector(`[data-live="${live}"]`).childNodes);
    }
    scrollBy({ top: root.getBoundingClientRect().top - top, behavior: "instant" });
    const { query, rows } = other.dataset;
    Object.assign(root.dataset, { query, rows });
    if (push) {
      hidePanel();
      state.bbox = state.id = null;
      history.pushState({ opened: 0 }, "", url);
    }
    drawTiles();
    loadView();
    showLegend();
    map.fire("imgsim-filter");
  }, signal);
}
