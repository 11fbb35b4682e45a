/** Cuts text into lines, without their line feeds. */
export class TextLineStream extends TransformStream<string, string> {}
