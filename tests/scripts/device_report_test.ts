/** What `bench/device.sh` writes into docs/gpu.md. */
import assert from "node:assert/strict";
import { putFigures, render } from "../../bench/device/report.ts";

const figures = render({
  machine: "a GPU",
  file: "a file",
  models: [
    {
      what: "all on the GPU",
      rates: { 1: 181.04, 512: 824, 8: 300 },
      gpuBytes: 4.5 * 2 ** 30,
      kernels: 226,
      submits: 1,
      readBacks: 1,
    },
    { what: "the CPU alone", rates: { 1: 27.9 } },
  ],
  missing: ["the GPU's tests: no time was left"],
});

Deno.test("figures of a device are a table, and what is missing is named", () => {
  assert.equal(
    figures,
    `a GPU; a file.

| tokens a second | one by one | a step of 8 | a step of 512 | GiB on the GPU | kernels, submits, read-backs a token |
| --- | ---: | ---: | ---: | ---: | ---: |
| all on the GPU | 181.0 | 300.0 | 824.0 | 4.50 | 226, 1, 1 |
| the CPU alone | 27.9 |  |  |  |  |

Not measured:

- the GPU's tests: no time was left`,
  );
});

Deno.test("the document has a place for them, which is filled anew each time", async () => {
  const document = await Deno.readTextFile(
    new URL("../../docs/gpu.md", import.meta.url),
  );
  const once = putFigures(document, figures);
  assert(once.includes(figures));
  assert.equal(putFigures(once, figures), once);
  assert.throws(() => putFigures("# No place", figures), /are missing$/);
});
