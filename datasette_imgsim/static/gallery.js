// The gallery's page.
//
// A script that a template names must not be imported by another one: Datasette 1.0 adds a hash
// to the address in the page and not to imports, so that the script would run twice.

import { unfoldFacets } from "./facets.js";
import { watchNotes } from "./loading.js";
import { watchOpeners } from "./viewer.js";

// A link to something within closed details opens them.
function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();

watchNotes(document);
unfoldFacets();
watchOpeners();
