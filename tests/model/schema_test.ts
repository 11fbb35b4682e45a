import assert from "node:assert/strict";
import { tensorOfHub } from "../../src/convert/tensor_names.ts";
import {
  allTensorNames,
  compareTensors,
  ggufName,
  hubName,
  layerEntries,
  mapTensors,
  tensorOfGguf,
} from "../../src/model/schema.ts";
import { randomModel } from "../helpers/random_model.ts";

Deno.test("a tensor is found by the name that it has in a file", () => {
  for (const tensor of allTensorNames(12)) {
    const gguf = ggufName(tensor.name, tensor.layer);
    assert.deepEqual(tensorOfGguf(gguf), tensor);
    const hub = hubName(tensor);
    if (hub !== undefined) assert.deepEqual(tensorOfHub(hub), tensor);
  }
  assert.equal(ggufName("attn_q", 3), "blk.3.attn_q.weight");
  assert.equal(ggufName("attn_q_bias", 3), "blk.3.attn_q.bias");
  assert.equal(ggufName("ffn_up", 3, true), "blk.3.ffn_up_exps.weight");
  assert.equal(ggufName("ffn_norm", 3, true), "blk.3.ffn_norm.weight");
  assert.deepEqual(
    tensorOfGguf("blk.3.ffn_up_exps.weight"),
    { name: "ffn_up", layer: 3 },
  );
  assert.equal(hubName({ name: "ffn_down_t", layer: 3 }), undefined);
  assert.equal(
    hubName({ name: "attn_q_bias", layer: 3 }),
    "model.layers.3.self_attn.q_proj.bias",
  );
});

Deno.test("other names are no tensor's", () => {
  const names = [
    "constructor.weight",
    "blk.0.constructor.weight",
    "blk.0.__proto__.weight",
    "blk.01.attn_q.weight",
    "blk.0.token_embd.weight",
    "attn_q.weight",
    "blk.0.attn_q",
    "blk.0.attn_q_exps.weight",
    "attn_q",
    "",
  ];
  for (const name of names) assert.equal(tensorOfGguf(name), undefined, name);
  const ofHub = [
    "model.layers.0.constructor.weight",
    "model.layers.0.lm_head.weight",
    "self_attn.q_proj.weight",
    "model.layers.0.self_attn.q_proj",
    "constructor.weight",
  ];
  for (const name of ofHub) assert.equal(tensorOfHub(name), undefined, name);
});

Deno.test("tensors are sorted as llama.cpp writes them", () => {
  const all = allTensorNames(11);
  assert.deepEqual(all.toReversed().sort(compareTensors), all);
  const [first, second] = all;
  assert.deepEqual([first.name, second.name], ["token_embd", "attn_norm"]);
  assert.equal(all.at(-1)?.name, "output");
});

Deno.test("a map over tensors keeps what is tied and leaves out what is absent", async () => {
  const { model } = await randomModel({ tied: true, ropeFactors: true });
  const names = mapTensors(model, ({ name }) => ({ name }));
  assert.equal(names.output, names.token_embd);
  assert.equal(names.rope_freqs?.name, "rope_freqs.weight");
  names.layers.forEach((layer, i) => {
    assert(!("fc1" in layer));
    for (const [own, { name }] of layerEntries(layer)) {
      assert.equal(name, ggufName(own, i));
    }
  });
});
