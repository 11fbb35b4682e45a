import assert from "node:assert/strict";

const path = (name: string) => `${import.meta.dirname}/${name}`;
const variable = "XDG_RUNTIME_DIR";

/** Runs a script, or the command line, with or without the variable. */
async function deno(args: readonly string[], value?: string) {
  const env = Deno.env.toObject();
  delete env[variable];
  if (value !== undefined) env[variable] = value;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", ...args],
    clearEnv: true,
    env,
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  );
  return { out, err };
}

Deno.test({
  name:
    "a folder for sockets is named where none is, and only where that is permitted",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const script = `data:text/typescript,${
      encodeURIComponent(
        `import { quietMesa } from "${new URL(
          "../../cli/mesa.ts",
          import.meta.url,
        )}";
        await quietMesa();
        const { state } = await Deno.permissions.query({ name: "env", variable: "${variable}" });
        console.log(state === "granted" ? Deno.env.get("${variable}") : state);`,
      )
    }`;
    const run = (flags: string[], value?: string) =>
      deno([`--allow-import`, ...flags, script], value);
    const granted = [`--allow-env=${variable}`];
    assert.deepEqual(await run(granted), { out: "/tmp\n", err: "" });
    assert.deepEqual(await run(granted, "/run/1"), {
      out: "/run/1\n",
      err: "",
    });
    assert.deepEqual(await run([]), { out: "prompt\n", err: "" });
  },
});

Deno.test("a command that looks for a GPU on a headless machine shows no line of its driver", async () => {
  const { out, err } = await deno(["-A", path("../../cli/main.ts"), "plan"]);
  assert.match(out, /^machine +this machine, measured/m);
  assert.equal(err, "");
});
