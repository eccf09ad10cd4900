// Results follow the level sliders, and the links beside them.

import { opensElsewhere } from "./elements.js";
import { asked, load, say, stop } from "./live.js";

const DEBOUNCE_MS = 120;

/** Lets the results follow. Gives a function that sets the sliders as those of a fetched page. */
export function followLevels(levels) {
  const form = levels.querySelector("form");
  const sliders = [...form.querySelectorAll("input")];
  let timer;

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
    const url = new URL(asked);
    url.searchParams.delete("_next");
    url.searchParams.delete("level_weights");
    const weights = sliders
      .filter((slider) => Number(slider.value))
      .map((slider) => `${slider.name}:${Number(slider.value) / 100}`);
    // Written by hand, so that pool5:1,pool3:0.5 stays readable.
    url.search += `${url.search ? "&" : "?"}level_weights=${weights.join(",")}`;
    return url;
  }

  function setSliders(fetched) {
    for (const slider of sliders) {
      slider.value = fetched.querySelector(`[data-levels] input[name="${slider.name}"]`).value;
    }
    showShares();
  }

  form.addEventListener("input", () => {
    clearTimeout(timer);
    if (showShares()) {
      timer = setTimeout(() => load(addressOf()), DEBOUNCE_MS);
    } else {
      stop();
      say("All sliders are at 0: move one up. These are the results from before");
    }
  });
  levels.addEventListener("click", async (event) => {
    const link = event.target.closest(".imgsim-preset");
    if (!link || opensElsewhere(event)) return;
    event.preventDefault();
    clearTimeout(timer);
    const fetched = await load(link.href);
    if (fetched) setSliders(fetched);
  });
  showShares();
  form.hidden = false;
  return setSliders;
}
