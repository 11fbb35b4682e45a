import assert from "node:assert/strict";
import { ContextError, load } from "../../mod.ts";
import {
  checkTextLength,
  mostCharacters,
} from "../../src/generate/text_length.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

Deno.test("a text is refused by its length only where no tokens could make it fit", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const { tokenizer, engine: { contextSize } } = model;
  const ids = Array.from({ length: tokenizer.vocabSize }, (_, id) => id);
  const longest = ids.reduce((best, id) =>
    tokenizer.pieceBytes(id).length > tokenizer.pieceBytes(best).length
      ? id
      : best
  );
  const { length } = tokenizer.pieceBytes(longest);
  assert.equal(mostCharacters(tokenizer, 10), 10 * length);
  const fitting = "a".repeat(contextSize * length);
  checkTextLength(fitting, tokenizer, contextSize);
  assert.throws(
    () => checkTextLength(fitting + "a", tokenizer, contextSize),
    (error: Error) => {
      assert.ok(error instanceof ContextError);
      assert.ok(error.message.includes(`${fitting.length + 1} characters`));
      assert.ok(error.message.includes(`${contextSize} tokens`));
      return true;
    },
  );
  const turn = { role: "user", content: fitting };
  assert.throws(() => model.chatPrompt([turn]), ContextError);
});
