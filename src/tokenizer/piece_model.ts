/** How one kind of vocabulary turns plain text into ids, and an id into bytes. */
export interface PieceModel {
  /**
   * Appends the ids of a text without special tokens to `ids`.
   *
   * @param atStart Whether the text begins here or follows a special token.
   */
  encode(text: string, atStart: boolean, ids: number[]): void;
  /** The bytes that an id of the vocabulary adds to a text. */
  pieceBytes(id: number): Uint8Array;
}
