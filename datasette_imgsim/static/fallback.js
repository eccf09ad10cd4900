// Large pictures whose file has gone, and formats that this browser cannot show.

/** Shows the picture that data-fallback names instead, once. */
export function useFallback(img) {
  const fallback = img.dataset.fallback;
  delete img.dataset.fallback;
  if (fallback) img.src = fallback;
}

/** Does so for each picture of the page that cannot be shown. */
export function watchPictures() {
  for (const img of document.querySelectorAll("img[data-fallback]")) {
    img.addEventListener("error", () => useFallback(img));
    if (img.complete && !img.naturalWidth) useFallback(img);
  }
}
