// Asking the server.

import { pause } from "./loading.js";
import { say } from "./map-page.js";

/** The JSON of an answer, as soon as the space is loaded. Throws the server's sentence. */
export async function fetchJson(url, signal) {
  for (;;) {
    const response = await fetch(url, { signal });
    const answer = await response.json();
    if (answer.ok) return answer;
    if (!answer.loading) throw new Error(answer.error);
    await pause();
  }
}

/** For something asked again and again: a function that gives a new signal and aborts the last. */
export function latest() {
  let running = new AbortController();
  return () => {
    running.abort();
    running = new AbortController();
    return running.signal;
  };
}

/** What `work` gives; what goes wrong is said on the page, unless the signal is aborted. */
export async function attempt(work, signal) {
  try {
    return await work();
  } catch (error) {
    if (signal.aborted) return;
    say(error instanceof TypeError ? "The server could not be reached: try again" : error.message);
  }
}

/** A function that does `work` once, `wait` milliseconds after its last call. */
export function debounced(wait, work) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, wait);
  };
}
