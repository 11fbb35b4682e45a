/** What a generated module holds as a text, for example base64. */
declare const text: string;
export default text;
