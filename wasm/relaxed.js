/** The kernels built with relaxed SIMD, compiled but not instantiated. */
import source module from "./pkg/relaxed.wasm";
export default module;
