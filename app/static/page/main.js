// What the page is made of, in the order in which a person meets it.

import * as figures from "./figures.js";
import * as health from "./health.js";
import * as job from "./job.js";
import * as prediction from "./prediction.js";
import * as surface from "./surface.js";
import * as training from "./training.js";
import * as versions from "./versions.js";

for (const part of [health, surface, prediction, training, job, versions, figures]) {
  part.start();
}
