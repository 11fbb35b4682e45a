/** llama.cpp's own routes: a text in its form, and what is said of the server. */
import assert from "node:assert/strict";
import { eventsOf, tinyServer } from "./tiny_server.ts";

const greedy = { temperature: 0, n_predict: 8 };
const prompt = "Once upon a time";

Deno.test("a completion has llama.cpp's fields, whole and streamed", async () => {
  await using tiny = await tinyServer({ sampling: { topK: 7 } });
  const response = await tiny.post("/completion", {
    ...greedy,
    prompt,
    return_tokens: true,
    stop: ["nothing of the kind"],
    seed: 42,
  });
  const whole = await response.json();
  const text = await tiny.model.complete(prompt, {
    temperature: 0,
    maxTokens: 8,
  });
  assert.equal(whole.content, text);
  assert.equal(whole.tokens.length, 8);
  assert.equal(tiny.model.detokenize(whole.tokens), text.trimStart());
  assert.equal(whole.stop, true);
  assert.equal(whole.stop_type, "limit");
  assert.equal(whole.truncated, false);
  assert.equal(whole.has_new_line, false);
  assert.equal(whole.tokens_predicted, 8);
  const ids = tiny.model.tokenize(prompt);
  assert.equal(whole.tokens_evaluated, ids.length);
  const { generation_settings: settings, timings } = whole;
  assert.deepEqual(
    [settings.n_predict, settings.temperature, settings.top_k, settings.seed],
    [8, 0, 7, 42],
  );
  assert.equal(timings.prompt_n + timings.cache_n, ids.length);
  assert.equal(timings.predicted_n, 8);
  assert(timings.neurons_read > 0 && timings.neurons_skipped > 0);

  const streamed = await eventsOf(
    await tiny.post("/completion", { ...greedy, prompt, stream: true }),
  );
  const chunks = streamed.map((event) => JSON.parse(event));
  const last = chunks.pop();
  assert.equal(chunks.map(({ content }) => content).join(""), text);
  assert.deepEqual(chunks.flatMap(({ tokens }) => tokens), whole.tokens);
  assert(chunks.every(({ stop }) => stop === false));
  assert.equal(last.stop, true);
  assert.equal(last.content, "");
  assert.equal(last.tokens_predicted, 8);
});

Deno.test("prompts are texts, ids, both in one list, or several", async () => {
  await using tiny = await tinyServer();
  const ids = tiny.model.tokenize(prompt);
  const of = async (prompt: unknown) => {
    const response = await tiny.post("/completion", { ...greedy, prompt });
    assert.equal(response.status, 200);
    const body = await response.json();
    const { content } = Array.isArray(body) ? body[0] : body;
    return [Array.isArray(body) ? body.length : 1, content];
  };
  const [, text] = await of(prompt);
  for (
    const [count, one] of [
      [1, ids],
      [1, { prompt_string: prompt }],
      [1, { prompt_string: prompt, multimodal_data: [] }],
      [1, [prompt]],
      [2, [prompt, ids]],
      [2, [ids, ids]],
      [2, [{ prompt_string: prompt }, prompt]],
      [1, [ids[0], ...ids.slice(1, 3), ...ids.slice(3)]],
    ] as const
  ) assert.deepEqual(await of(one), [count, text], JSON.stringify(one));
  const parts = [ids[0], "a text", ids[2]];
  const mixed = [
    ids[0],
    ...tiny.model.tokenize("a text", { addSpecial: false }),
    ids[2],
  ];
  assert.deepEqual(await of(parts), await of(mixed));
  const wrong = [
    {},
    { prompt: [] },
    { prompt: 7 },
    { prompt: { prompt_string: "a", multimodal_data: ["b"] } },
    { prompt: [[[1]]] },
    { prompt, n_predict: "8" },
    { prompt, n_probs: -1 },
  ];
  for (const body of wrong) {
    const response = await tiny.post("/completion", body);
    assert.equal(response.status, 400, JSON.stringify(body));
    assert.equal((await response.json()).error.type, "invalid_request_error");
  }
});

Deno.test("probabilities, chosen fields and constraints are llama.cpp's", async () => {
  await using tiny = await tinyServer();
  const probable = await (await tiny.post("/completion", {
    ...greedy,
    prompt,
    n_probs: 3,
  })).json();
  assert.equal(probable.completion_probabilities.length, 8);
  for (
    const { id, token, bytes, logprob, top_logprobs } of probable
      .completion_probabilities
  ) {
    assert.deepEqual(top_logprobs[0], { id, token, bytes, logprob });
    assert.equal(top_logprobs.length, 3);
  }
  const few = await (await tiny.post("/completion", {
    ...greedy,
    prompt,
    response_fields: ["content", "generation_settings/n_predict", "no/such"],
  })).json();
  assert.deepEqual(Object.keys(few), [
    "content",
    "generation_settings/n_predict",
  ]);
  const held = await (await tiny.post("/completion", {
    prompt,
    n_predict: 40,
    json_schema: { enum: ["yes", "no"] },
  })).json();
  assert.match(held.content, /^"(yes|no)"$/);
  const byGrammar = await (await tiny.post("/completion", {
    prompt,
    n_predict: 40,
    grammar: 'root ::= "a" "b"+ "."',
  })).json();
  assert.match(byGrammar.content, /^ab+\.?$/);
  const refused = await tiny.post("/completion", {
    prompt,
    post_sampling_probs: true,
  });
  assert.equal(refused.status, 501);
});

Deno.test("what a text was written with is told: biases, the prompt with BOS, the context's end", async () => {
  await using tiny = await tinyServer();
  const { tokenizer, engine } = tiny.model;
  const of = async (body: object) => {
    const response = await tiny.post("/completion", { prompt, ...body });
    assert.equal(response.status, 200);
    return await response.json();
  };
  const bos = tokenizer.pieceText(tokenizer.bos!);
  const plain = await of(greedy);
  assert.equal(plain.prompt, `${bos} ${prompt}`);
  assert.deepEqual(plain.generation_settings.logit_bias, []);
  assert.equal(plain.generation_settings.mirostat, 0);
  const [token] = tokenizer.encode("the", { addSpecial: false });
  const biased = await of({
    ...greedy,
    logit_bias: { [String(token)]: -1, " ball": -2 },
    ignore_eos: true,
  });
  const { logit_bias } = biased.generation_settings;
  const by = new Map(
    logit_bias.map((each: { token: number; bias: number | null }) => [
      each.token,
      each.bias,
    ]),
  );
  assert.equal(by.get(token), -1);
  for (const id of tokenizer.encode(" ball", { addSpecial: false })) {
    assert.equal(by.get(id), -2);
  }
  assert.equal(by.get(tokenizer.eos!), null);

  const room = engine.contextSize - tokenizer.encode(prompt).length;
  const full = await of({ ...greedy, n_predict: -1, ignore_eos: true });
  assert.equal(full.stop_type, "limit");
  assert.equal(full.truncated, true);
  assert(full.tokens_predicted >= room);
  const ids = Array(engine.contextSize).fill(token);
  const long = await tiny.post("/completion", { prompt: ids });
  assert.equal(long.status, 400);
  assert.match(
    (await long.json()).error.message,
    /exceeds the available context size/,
  );
});

Deno.test("a template is applied, with tools and without an answer's beginning", async () => {
  await using tiny = await tinyServer();
  const messages = [{ role: "user", content: "Hello" }];
  const of = async (body: object) => {
    const response = await tiny.post("/apply-template", { messages, ...body });
    return (await response.json()).prompt;
  };
  const whole = await of({});
  assert.match(whole, /Hello/);
  const begun = await of({ add_generation_prompt: false });
  assert(whole.startsWith(begun) && whole.length > begun.length);
});

Deno.test("what the server is, and does, is told", async () => {
  await using tiny = await tinyServer({
    aliases: ["tiny"],
    parallel: 3,
    metrics: true,
    maxTokens: 50,
  });
  const props = await (await tiny.get("/props")).json();
  assert.equal(props.total_slots, 3);
  assert.equal(props.model_alias, "tiny");
  const { params, n_ctx } = props.default_generation_settings;
  assert.equal(n_ctx, tiny.model.engine.contextSize);
  assert.deepEqual([params.n_predict, params.top_k], [50, 40]);
  const idle = await (await tiny.get("/slots")).json();
  assert.deepEqual(
    idle.map(({ is_processing }: { is_processing: boolean }) => is_processing),
    [false, false, false],
  );

  let evaluated = 0, predicted = 0;
  for (let i = 0; i < 2; i++) {
    const { timings } = await (await tiny.post("/completion", {
      ...greedy,
      prompt: `${prompt} there was a cat who lived in a house`,
    })).json();
    evaluated += timings.prompt_n;
    predicted += timings.predicted_n;
  }
  const response = await tiny.get("/metrics");
  assert.match(response.headers.get("content-type")!, /^text\/plain/);
  const text = await response.text();
  const value = (name: string) => {
    assert.match(text, new RegExp(`^# TYPE ${name} (counter|gauge)$`, "m"));
    assert.match(text, new RegExp(`^# HELP ${name} `, "m"));
    return Number(text.match(new RegExp(`^${name} (\\S+)$`, "m"))![1]);
  };
  assert.equal(value("llamacpp:prompt_tokens_total"), evaluated);
  assert.equal(value("llamacpp:tokens_predicted_total"), predicted);
  assert(value("llamacpp:prompt_tokens_cached_total") > 0);
  assert(value("llamacpp:n_decode_total") > 0);
  assert.equal(value("llamacpp:requests_processing"), 0);
  const live = value("culm:neurons_active_ratio");
  assert(live > 0 && live < 1);
  assert(value("culm:bytes_read_per_token") > 0);
  assert(value("culm:queue_granted_total") === 2);
});

Deno.test("metrics and slots that are not given say by which flag they are", async () => {
  await using tiny = await tinyServer({ slots: false });
  for (
    const [path, flag] of [["/metrics", /--metrics/], [
      "/slots",
      /--no-slots/,
    ]] as const
  ) {
    const response = await tiny.get(path);
    assert.equal(response.status, 501);
    assert.match((await response.json()).error.message, flag);
  }
});
