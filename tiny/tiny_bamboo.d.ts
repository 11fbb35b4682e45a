/** An empty WebAssembly module whose custom section "gguf" is the model. */
declare const module: WebAssembly.Module;
export default module;
