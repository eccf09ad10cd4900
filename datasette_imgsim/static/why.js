// The page that says why two pictures are alike.

import { watchPictures } from "./fallback.js";
import { watchNotes } from "./loading.js";

watchPictures();
watchNotes(document);
