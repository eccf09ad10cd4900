// The parts of a page that are marked data-live: another address is loaded into them in place.

import { watchNotes } from "./loading.js";

export const results = document.querySelector('[data-live="results"]');
const status = document.querySelector('[data-live="found"]');
let running = new AbortController();
let shown = location.pathname + location.search;

/** The address that is shown, or is being loaded. */
export let asked = location.href;

export const say = (text) => (status.textContent = text);

/** Ends what is being loaded. */
export function stop() {
  running.abort();
  results.removeAttribute("aria-busy");
  asked = location.href;
}

/**
 * Shows another address. It is a new entry of the history with `push`, and takes the place of the
 * one that is shown without. `said` is what led to it, for the status line. Gives the page that
 * was fetched; nothing if that failed, or something else was asked for meanwhile.
 */
export async function load(url, { push = false, said = "" } = {}) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  let response, html;
  asked = url;
  results.setAttribute("aria-busy", "true");
  try {
    response = await fetch(url, { signal });
    html = await response.text();
  } catch {
    if (signal.aborted) return;
    stop();
    say("The server could not be reached: these are the results from before");
    return;
  }
  if (signal.aborted) return;
  results.removeAttribute("aria-busy");
  if (!response.ok) return location.assign(url);
  const fetched = new DOMParser().parseFromString(html, "text/html");
  if (said) tell(fetched.querySelector('[data-live="found"]'), said);
  keepingPlace(() => {
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fetched.querySelector(`[data-live="${part.dataset.live}"]`);
      if (!other) continue;
      replace(part, other);
      watchNotes(part);
    }
  });
  history[push ? "pushState" : "replaceState"](null, "", url);
  shown = location.pathname + location.search;
  return fetched;
}

/** Loads what Back and Forward lead to; `then` gets the page. */
export function followHistory(then) {
  addEventListener("popstate", async () => {
    if (location.pathname + location.search === shown) return; // another #place of the page
    const fetched = await load(location.href);
    if (fetched) then(fetched);
  });
}

function tell(line, said) {
  const count = line.textContent.trim().replace(" alike", " alike now");
  line.textContent = count ? `${count}; ${said}` : said;
}

// Pictures that are shown already stay as they are, so that nothing flickers.
function replace(part, other) {
  const pictures = new Map([...part.querySelectorAll("img")].map((img) => [img.src, img]));
  for (const img of other.querySelectorAll("img")) {
    const present = pictures.get(new URL(img.getAttribute("src"), location.href).href);
    if (!present) continue;
    pictures.delete(present.src);
    img.replaceWith(present);
  }
  part.replaceChildren(...other.childNodes);
}

// The focus goes to what stands where it was, and that stays where it is on the screen.
function keepingPlace(change) {
  const active = document.activeElement;
  const part = active?.closest("[data-live]");
  if (!part) return change();
  const alike = active.className ? `.${[...active.classList].join(".")}` : active.tagName;
  const place = [...part.querySelectorAll(alike)].indexOf(active);
  const { top } = active.getBoundingClientRect();
  change();
  const candidates = part.querySelectorAll(alike);
  const next = candidates[Math.min(place, candidates.length - 1)];
  (next || results).focus({ preventScroll: true });
  if (next) scrollBy({ top: next.getBoundingClientRect().top - top, behavior: "instant" });
}
