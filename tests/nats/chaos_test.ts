import { hasNats } from "../helpers/nats.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import { run } from "./chaos.ts";

testNeeding(needs.nats, hasNats && Deno.build.os !== "windows", {
  name: "a batch whose workers and queue die is answered as by one machine",
  fn: async () => {
    await run({
      lines: 300,
      tokens: 24,
      workers: 3,
      killEvery: 2,
      kills: 8,
      parting: 3,
      restarts: 1,
      full: 1,
      ackWait: 1,
      gap: 1,
      random: seededRandom(1),
      tell: () => {},
    });
  },
});
