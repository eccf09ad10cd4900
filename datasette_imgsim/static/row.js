// On the page of a row: the thumbnail, where the large picture cannot be shown.

import { watchPictures } from "./fallback.js";

watchPictures();
