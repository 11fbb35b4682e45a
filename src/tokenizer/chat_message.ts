/** One turn of a chat. Templates may read more than role and content. */
export interface ChatMessage {
  /** Who speaks: `system`, `user`, `assistant` or `tool`. */
  readonly role: string;
  /** What is said. */
  readonly content: string;
  /** What else the model's template reads, such as `tool_calls`. */
  readonly [key: string]: unknown;
}
