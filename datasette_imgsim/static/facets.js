// The facets beside the gallery are open where there is room for them.

/** Opens the facets on a wide screen, and folds them when it becomes narrow. */
export function unfoldFacets() {
  const facets = document.querySelector("[data-facets]");
  if (!facets) return;
  const wide = matchMedia("(min-width: 40.01rem)");
  const follow = () => (facets.open = wide.matches);
  wide.addEventListener("change", follow);
  follow();
}
