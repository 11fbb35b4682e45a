/** The compiled module of kernels; its instances export `Kernels`. */
declare const module: WebAssembly.Module;
export default module;
