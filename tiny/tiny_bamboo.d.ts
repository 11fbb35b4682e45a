/** The GGUF file, in base64. */
declare const gguf: string;
export default gguf;
