// While a space loads, the server says so instead of answering: one waits and asks again.

const RETRY_MS = 1000;

/** Waits as long as one should before asking again. */
export const pause = () => new Promise((resolve) => setTimeout(resolve, RETRY_MS));

/** Keeps the notes about loading that are within `part` true, until the space is loaded. */
export function watchNotes(part) {
  for (const note of part.querySelectorAll("[data-loading]")) watch(note);
}

async function watch(note) {
  for (;;) {
    await pause();
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
