// What is asked of the server for a picture of one's own.

import { find } from "./elements.js";

const KEPT = ["space", "level_weights", "_scores"];

// The parameters of the page that its address has now.
function address(more) {
  const url = new URL(find("choose").dataset.upload, location.href);
  for (const [name, value] of new URLSearchParams(location.search)) {
    if (KEPT.includes(name)) url.searchParams.append(name, value);
  }
  for (const [name, value] of Object.entries(more)) url.searchParams.append(name, value);
  return url;
}

const UNREACHABLE = "The server could not be reached, or broke off: try again";
const unclear = (status) => `The server answered ${status}: try again`;

/** Whether the network is loaded; the server begins to load it. Gives its JSON. */
export async function ask(signal) {
  let response;
  try {
    response = await fetch(address({}), { signal });
  } catch {
    throw new Error(UNREACHABLE);
  }
  const isJson = response.headers.get("content-type")?.includes("json");
  return isJson ? response.json() : { error: unclear(response.status) };
}

/** Sends a picture; `advance` is told which share has gone. Gives the server's JSON. */
export function post(file, csrftoken, signal, advance) {
  // fetch() does not tell how much has gone.
  const request = new XMLHttpRequest();
  request.open("POST", address({ name: file.name }));
  request.responseType = "json";
  request.setRequestHeader("content-type", file.type || "application/octet-stream");
  if (csrftoken) request.setRequestHeader("x-csrftoken", csrftoken);
  request.upload.onprogress = ({ loaded, total }) => advance(Math.min(0.99, loaded / total));
  request.upload.onload = () => advance(1);
  signal.addEventListener("abort", () => request.abort());
  return new Promise((resolve, reject) => {
    request.onload = () => resolve(request.response || { error: unclear(request.status) });
    request.onerror = () => reject(new Error(UNREACHABLE));
    request.onabort = () => reject(new Error("cancelled"));
    request.send(file);
  });
}
