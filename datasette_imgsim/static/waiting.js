// A page that has nothing to show until its space is loaded.

import { watchNotes } from "./loading.js";

watchNotes(document);
