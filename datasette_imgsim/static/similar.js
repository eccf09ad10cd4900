// The page of one image and those similar to it.

import { watchPictures } from "./fallback.js";
import { followHistory } from "./live.js";
import { watchNotes } from "./loading.js";
import { followExamples } from "./similar-examples.js";
import { followLevels } from "./similar-levels.js";
import { followPart } from "./similar-part.js";
import { watchOpeners } from "./viewer.js";

watchPictures();
watchNotes(document);
followExamples();
followPart();
watchOpeners();

const levels = document.querySelector("[data-levels]");
const setSliders = levels && followLevels(levels);
followHistory((fetched) => setSliders?.(fetched));
