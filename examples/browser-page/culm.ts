/** What the page and its engine use of the library; bundled into `culm.js`. */
export { load } from "@culm/culm";
export { answerPage, startEngine } from "@culm/culm/browser";
export { createServer } from "@culm/culm/server";
export { tinyBamboo } from "@culm/tiny";
