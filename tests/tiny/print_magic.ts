/** Prints the magic of the embedded model. Started with no permission. */

import { tinyBamboo } from "../../tiny/tiny.ts";

const magic = await tinyBamboo().read(0, 4);
console.log(new TextDecoder().decode(magic));
