// @ts-self-types="./tiny_bamboo.d.ts"
// JavaScript, because `deno check` refuses `import source` in a .ts file.
import source module from "./tiny_bamboo.wasm";

export default module;
