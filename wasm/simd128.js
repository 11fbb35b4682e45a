/** The kernels built with plain SIMD128, compiled but not instantiated. */
import source module from "./pkg/simd128.wasm";
export default module;
