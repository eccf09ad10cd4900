// Search by an image that is dropped, pasted or chosen, results that follow the level sliders, and
// pages that wait for a space to load.

const RETRY_MS = 1000;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Large pictures whose file has gone, and formats that this browser cannot show.
function useFallback(img) {
  const fallback = img.dataset.fallback;
  delete img.dataset.fallback;
  if (fallback) img.src = fallback;
}
for (const img of document.querySelectorAll("img[data-fallback]")) {
  img.addEventListener("error", () => useFallback(img));
  if (img.complete && !img.naturalWidth) useFallback(img);
}

// A link to something within closed details opens them.
function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();

async function waitForSpace(note) {
  for (;;) {
    await pause(RETRY_MS);
    if (!note.isConnected) return;
    let answer;
    try {
      answer = await (await fetch(note.dataset.loading)).json();
    } catch {
      continue;
    }
    if (answer.loading) {
      const sentence = answer.ok ? answer.loading : answer.error;
      if (note.textContent !== sentence) note.textContent = sentence;
    } else if (note.dataset.then === "reload") {
      return location.reload();
    } else {
      note.hidden = true;
      return;
    }
  }
}
for (const note of document.querySelectorAll("[data-loading]")) waitForSpace(note);

const levels = document.querySelector("[data-levels]");
if (levels) follow(levels);

const ask = document.querySelector("[data-search]");
if (ask) listen(ask);

// Results follow the level sliders: the page for the new weights is fetched, and its parts that
// are marked data-live take the place of those that are shown.
function follow(levels) {
  const DEBOUNCE_MS = 120;
  const form = levels.querySelector("form");
  const sliders = [...form.querySelectorAll("input")];
  let timer;
  let running = new AbortController();

  function showShares() {
    const total = sliders.reduce((sum, slider) => sum + Number(slider.value), 0);
    for (const slider of sliders) {
      const share = total ? `${Math.round((100 * slider.value) / total)} %` : "–";
      slider.nextElementSibling.textContent = share;
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
    try {
      response = await fetch(url, { signal });
      html = await response.text();
    } catch {
      return; // replaced by a later one, or the server is away: what is shown stays true
    }
    if (signal.aborted) return;
    if (!response.ok) return location.assign(url);
    const fetched = new DOMParser().parseFromString(html, "text/html");
    for (const shown of document.querySelectorAll("[data-live]")) {
      const part = fetched.querySelector(`[data-live="${shown.dataset.live}"]`);
      if (!part) continue;
      replace(shown, part);
      for (const note of shown.querySelectorAll("[data-loading]")) waitForSpace(note);
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
    if (showShares()) timer = setTimeout(() => load(addressOf()), DEBOUNCE_MS);
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

function listen(ask) {
  const find = (name) => document.querySelector(`.imgsim-${name}`);
  const input = document.getElementById("imgsim-file");
  const status = find("status");
  const answer = find("answer");
  const picture = answer.querySelector(".imgsim-query img");
  const caption = answer.querySelector("figcaption");
  const results = find("results");
  const more = find("more");
  let running = new AbortController();
  let shown; // the file whose results are on the page

  function say(sentence, kind = "") {
    status.textContent = sentence;
    status.classList.toggle("imgsim-busy", kind === "busy");
    status.classList.toggle("imgsim-wrong", kind === "wrong");
  }

  // One request; asks again while the space is loading. Gives the page's HTML or throws a sentence.
  async function send(file, next, signal) {
    const url = new URL(ask.dataset.search, location.href);
    if (next) url.searchParams.set("_next", next);
    for (;;) {
      const response = await fetch(url, {
        method: "POST",
        body: file,
        signal,
        headers: {
          accept: "text/html",
          "content-type": file.type || "application/octet-stream",
          "x-csrftoken": ask.dataset.token,
        },
      });
      const type = response.headers.get("content-type") || "";
      if (response.ok && type.startsWith("text/html")) return response.text();
      const { error, loading } = type.includes("json") ? await response.json() : {};
      if (!loading) throw new Error(error || `The server answered ${response.status}: try again`);
      say(error, "busy");
      await pause(RETRY_MS);
    }
  }

  function show(html, append) {
    const part = document.createElement("div");
    part.innerHTML = html;
    const data = part.firstElementChild.dataset;
    if (append) results.append(...part.children);
    else results.replaceChildren(...part.children);
    more.hidden = !data.next;
    more.dataset.next = data.next || "";
    return data.thumbnail;
  }

  function showPicture(file, thumbnail) {
    URL.revokeObjectURL(picture.src);
    picture.dataset.fallback = thumbnail;
    picture.onerror = () => useFallback(picture);
    picture.src = URL.createObjectURL(file);
    picture.alt = file.name;
    caption.textContent = file.name;
  }

  async function search(file) {
    if (!file) return;
    running.abort();
    running = new AbortController();
    const { signal } = running;
    if (file.size > Number(ask.dataset.maxBytes)) {
      say(`${file.name} is larger than ${ask.dataset.maxMb} MB: choose a smaller image`, "wrong");
      return;
    }
    say(`Looking at ${file.name} …`, "busy");
    try {
      const html = await send(file, "", signal);
      if (signal.aborted) return;
      shown = file;
      showPicture(file, show(html, false));
      const count = results.querySelectorAll(".imgsim-tile").length;
      say(`${count} similar image${count === 1 ? "" : "s"} to ${file.name}, best first`);
      answer.hidden = false;
      find("all").hidden = true;
      const heading = document.getElementById("imgsim-answer");
      heading.focus({ preventScroll: true });
      answer.scrollIntoView({ block: "nearest" });
    } catch (error) {
      if (!signal.aborted) say(sentence(error), "wrong");
    }
  }

  function sentence(error) {
    return error instanceof TypeError
      ? "The server could not be reached, or broke off: try again"
      : error.message;
  }

  input.addEventListener("change", () => {
    search(input.files[0]);
    input.value = ""; // the same file can be chosen again
  });

  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("imgsim-dropping");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("imgsim-dropping");
  });
  addEventListener("drop", (event) => {
    document.body.classList.remove("imgsim-dropping");
    if (!hasFiles(event)) return;
    event.preventDefault();
    search(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files || [])];
    search(pasted.find((each) => each.type.startsWith("image/")));
  });

  more.addEventListener("click", async () => {
    const { signal } = running;
    more.disabled = true;
    try {
      const html = await send(shown, more.dataset.next, signal);
      if (!signal.aborted) show(html, true);
    } catch (error) {
      if (!signal.aborted) say(sentence(error), "wrong");
    }
    more.disabled = false;
  });

  find("back").addEventListener("click", () => {
    running.abort();
    answer.hidden = true;
    find("all").hidden = false;
    say("");
    input.focus();
  });

  find("choose").hidden = false;
}
