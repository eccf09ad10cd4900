// Search by an image that is dropped, pasted or chosen.

import { find } from "./elements.js";
import { useFallback } from "./fallback.js";
import { pause } from "./loading.js";

/** Searches by each image that somebody gives; `ask` says where to send it. */
export function takeImages(ask) {
  const input = document.getElementById("imgsim-file");
  const status = find("status");
  const answer = find("answer");
  const picture = answer.querySelector(".imgsim-query img");
  const caption = answer.querySelector("figcaption");
  const results = find("results");
  const more = find("more");
  let running = new AbortController();
  let shown; // the file whose results are on the page

  function say(text, kind = "") {
    status.textContent = text;
    status.classList.toggle("imgsim-busy", kind === "busy");
    status.classList.toggle("imgsim-wrong", kind === "wrong");
  }

  const send = (file, next, weaker, signal) =>
    htmlOfResults(ask, file, next, weaker, signal, (text) => say(text, "busy"));

  function show(html, append) {
    const part = document.createElement("div");
    part.innerHTML = html;
    const data = part.firstElementChild.dataset;
    if (append) results.append(...part.children);
    else results.replaceChildren(...part.children);
    more.hidden = !data.next;
    more.dataset.next = data.next || "";
    // Once weaker ones were asked for, they go on.
    more.dataset.weaker = data.weaker || (append && more.dataset.weaker) || "";
    more.textContent = data.weaker ? "Show weaker ones" : "Show more";
    return data;
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
      const html = await send(file, "", "", signal);
      if (signal.aborted) return;
      shown = file;
      const { thumbnail, count } = show(html, false);
      showPicture(file, thumbnail);
      say(count ? `${count} to ${file.name}` : `Images similar to ${file.name}, best first`);
      answer.hidden = false;
      find("all").hidden = true;
      const heading = document.getElementById("imgsim-answer");
      heading.focus({ preventScroll: true });
      answer.scrollIntoView({ block: "nearest" });
    } catch (error) {
      if (!signal.aborted) say(sentence(error), "wrong");
    }
  }

  input.addEventListener("change", () => {
    search(input.files[0]);
    input.value = ""; // the same file can be chosen again
  });
  takeDropped(search);
  takePasted(search);

  more.addEventListener("click", async () => {
    const { signal } = running;
    more.disabled = true;
    try {
      const html = await send(shown, more.dataset.next, more.dataset.weaker, signal);
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

// Asks again while the space is loading. Gives the page's HTML or throws a sentence.
async function htmlOfResults(ask, file, next, weaker, signal, sayWaiting) {
  const url = new URL(ask.dataset.search, location.href);
  if (next) url.searchParams.set("_next", next);
  if (weaker) url.searchParams.set("_weaker", "1");
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
    sayWaiting(error);
    await pause();
  }
}

function sentence(error) {
  return error instanceof TypeError
    ? "The server could not be reached, or broke off: try again"
    : error.message;
}

function takeDropped(search) {
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
}

function takePasted(search) {
  addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files || [])];
    search(pasted.find((each) => each.type.startsWith("image/")));
  });
}
