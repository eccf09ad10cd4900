// Searches by a picture of one's own: it is sent, and has a page of its own then.

import { find } from "./elements.js";
import { pause } from "./loading.js";
import { shown } from "./upload-dialog.js";
import { takeImages } from "./upload-given.js";
import { ask, post } from "./upload-requests.js";

const button = find("choose");
const input = button.querySelector("input");
const { maxBytes, maxMb } = button.dataset;
let running = new AbortController();

async function search(file) {
  const signal = start(file);
  try {
    if (!file.size) throw new Error(`${file.name} is empty: choose another image`);
    if (file.size > Number(maxBytes)) {
      throw new Error(`${file.name} is larger than ${maxMb} MB: choose a smaller image`);
    }
    location.assign(await addressOf(file, signal));
  } catch (error) {
    if (!signal.aborted) shown.fail(error.message);
  }
}

function refuse(sentence) {
  start(null);
  shown.fail(sentence);
}

// Ends what is being sent, and shows the next.
function start(file) {
  running.abort();
  running = new AbortController();
  shown.show(file);
  return running.signal;
}

// Asks again while the space is loading.
async function addressOf(file, signal) {
  for (;;) {
    let answer = await ask(signal);
    if (answer.ok) answer = await sent(file, answer, signal);
    if (answer.href) return answer.href;
    if (!answer.loading) throw new Error(answer.error);
    shown.say(answer.error);
    await pause();
    signal.throwIfAborted();
  }
}

async function sent(file, { ready, csrftoken }, signal) {
  const waiting = new AbortController();
  const answered = post(file, csrftoken, signal, (share) => {
    shown.advance(share);
    if (share === 1) tellWaiting(ready, waiting.signal);
  });
  try {
    return await answered;
  } finally {
    waiting.abort();
  }
}

async function tellWaiting(ready, signal) {
  while (!ready && !signal.aborted) {
    shown.say("The network is being loaded …");
    await pause();
    ready = await ask(signal).then((answer) => answer.ready, () => true);
  }
  if (!signal.aborted) shown.say("Looking at it …");
}

shown.onCancel(() => running.abort());
shown.onAnother(() => input.click());
takeImages(input, search, refuse);
button.hidden = false;

// The server loads the network meanwhile, so that the first picture need not wait for it.
const whenIdle = window.requestIdleCallback || setTimeout;
addEventListener("load", () => whenIdle(() => ask().catch(() => {})));
