// Results follow the level sliders: the page for the new weights is fetched, and its parts that
// are marked data-live take the place of those that are shown.

import { watchNotes } from "./loading.js";

const DEBOUNCE_MS = 120;

/** Lets the results follow the sliders and the links beside them. */
export function followLevels(levels) {
  const form = levels.querySelector("form");
  const sliders = [...form.querySelectorAll("input")];
  const results = document.querySelector('[data-live="results"]');
  const status = () => document.querySelector('[data-live="found"] [role="status"]');
  let timer;
  let running = new AbortController();

  function showShares() {
    const total = sliders.reduce((sum, slider) => sum + Number(slider.value), 0);
    for (const slider of sliders) {
      const share = `${total ? Math.round((100 * slider.value) / total) : 0} %`;
      slider.nextElementSibling.textContent = share;
      slider.setAttribute("aria-valuetext", share);
    }
    return total;
  }

  function addressOf() {
    const url = new URL(location.href);
    url.searchParams.delete("_next");
    url.searchParams.delete("level_weights");
    const weights = sliders
      .filter((slider) => Number(slider.value))
      .map((slider) => `${slider.name}:${Number(slider.value) / 100}`);
    // Written by hand, so that pool5:1,pool3:0.5 stays readable.
    url.search += `${url.search ? "&" : "?"}level_weights=${weights.join(",")}`;
    return url;
  }

  // Pictures that are shown already stay as they are, so that nothing flickers.
  function replace(shown, fetched) {
    const pictures = new Map([...shown.querySelectorAll("img")].map((img) => [img.src, img]));
    for (const img of fetched.querySelectorAll("img")) {
      const present = pictures.get(new URL(img.getAttribute("src"), location.href).href);
      if (!present) continue;
      pictures.delete(present.src);
      img.replaceWith(present);
    }
    shown.replaceChildren(...fetched.childNodes);
  }

  async function load(url) {
    running.abort();
    running = new AbortController();
    const { signal } = running;
    let response, html;
    results.setAttribute("aria-busy", "true");
    try {
      response = await fetch(url, { signal });
      html = await response.text();
    } catch {
      if (!signal.aborted) {
        results.removeAttribute("aria-busy");
        status().textContent = "The server could not be reached: these are the results from before";
      }
      return;
    }
    if (signal.aborted) return;
    results.removeAttribute("aria-busy");
    if (!response.ok) return location.assign(url);
    const fetched = new DOMParser().parseFromString(html, "text/html");
    for (const shown of document.querySelectorAll("[data-live]")) {
      const part = fetched.querySelector(`[data-live="${shown.dataset.live}"]`);
      if (!part) continue;
      replace(shown, part);
      watchNotes(shown);
    }
    for (const link of levels.querySelectorAll(".imgsim-preset")) markCurrent(link, url);
    history.replaceState(null, "", url);
    return fetched;
  }

  function markCurrent(link, url) {
    const weights = (address) => new URL(address, location.href).searchParams.get("level_weights");
    if (weights(link.href) === weights(url)) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }

  form.addEventListener("input", () => {
    clearTimeout(timer);
    if (showShares()) {
      timer = setTimeout(() => load(addressOf()), DEBOUNCE_MS);
    } else {
      running.abort();
      results.removeAttribute("aria-busy");
      status().textContent = "All sliders are at 0: move one up. These are the results from before";
    }
  });
  for (const link of levels.querySelectorAll(".imgsim-preset")) {
    markCurrent(link, location.href);
    link.addEventListener("click", async (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      clearTimeout(timer);
      const url = addressOf();
      url.search = new URL(link.href).search;
      const fetched = await load(url);
      if (!fetched) return;
      for (const slider of sliders) {
        slider.value = fetched.querySelector(`[data-levels] input[name="${slider.name}"]`).value;
      }
      showShares();
    });
  }
  showShares();
  form.hidden = false;
}
