/** culm's page, as docs/browser.md shows it: the model is kept in OPFS, and loads as it comes. */
import { ModelStore } from "../../browser.ts";
import { type LanguageModel, load } from "../../mod.ts";
import { measured } from "./page.ts";

let model: LanguageModel;

measured({
  async load(url, threads) {
    const store = await ModelStore.open();
    const source = await store.open(url);
    model = await load(source, { threads, contextSize: 1024 });
  },
  generate: ({ text }, maxTokens) =>
    model.generate(text, { maxTokens, temperature: 0, cachePrompt: false }),
});
