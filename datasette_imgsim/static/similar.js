// The page of one image and those similar to it.

import { watchPictures } from "./fallback.js";
import { watchNotes } from "./loading.js";
import { followLevels } from "./similar-levels.js";

watchPictures();
watchNotes(document);

const levels = document.querySelector("[data-levels]");
if (levels) followLevels(levels);
