// The columns of a picture's row, as Datasette tells them.

import { make } from "./elements.js";

let running = new AbortController();

/** Fills a list with the columns of the row that has this address. */
export async function showColumns(list, row) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  list.replaceChildren();
  try {
    const response = await fetch(`${row}.json?_shape=objects`, { signal });
    const { rows } = await response.json();
    if (signal.aborted) return;
    for (const [name, value] of Object.entries(rows[0])) {
      const text = textOf(value);
      if (text) list.append(make("dt", {}, name), make("dd", {}, text));
    }
  } catch {
    if (!signal.aborted) list.replaceChildren(make("dd", {}, "The columns could not be read"));
  }
}

function textOf(value) {
  if (value === null) return "";
  if (value.$base64) return `binary, ${atob(value.encoded).length.toLocaleString("en")} bytes`;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
