/** The files that run culm on many machines start it by commands that there are. */
import assert from "node:assert/strict";
import { parse, parseAll } from "@std/yaml";
import { readArguments } from "../cli/arguments.ts";
import { commands } from "../cli/commands.ts";
import config from "../deno.json" with { type: "json" };

const folder = new URL("../deploy/", import.meta.url);
const textOf = (name: string) => Deno.readTextFile(new URL(name, folder));
const program = `jsr:${config.name}@${config.version}/cli`;

/** Checks what `deno run` is given. */
function check(args: readonly string[]): void {
  const at = args.indexOf(program);
  assert.ok(at >= 0, `${program} in ${args.join(" ")}`);
  const [name, ...rest] = args.slice(at + 1);
  const command = commands.find((each) => each.name === name);
  assert.ok(command, name);
  assert.ok(readArguments(rest, command));
  for (const flag of args.slice(0, at)) {
    assert.match(
      flag,
      /^--(allow-(read|net|env)(=.+)?|cached-only|no-prompt)$/,
    );
  }
}

/** All values of a key, however deep. */
function valuesOf(key: string, value: unknown): unknown[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) =>
    name === key ? [each] : valuesOf(key, each)
  );
}

/** Arguments of containers that are no other program's. */
function commandsIn(value: unknown, key: string): string[][] {
  return (valuesOf(key, value) as string[][])
    .filter((args) => args.some((arg) => arg.startsWith("jsr:")));
}

Deno.test("compose.yaml starts culm by commands that there are", async () => {
  const found = commandsIn(parse(await textOf("compose.yaml")), "command");
  assert.equal(found.length, 4);
  for (const args of found) check(args);
});

Deno.test("kubernetes.yaml starts culm by commands that there are", async () => {
  const found = commandsIn(parseAll(await textOf("kubernetes.yaml")), "args");
  assert.equal(found.length, 3);
  for (const args of found) check(args);
});

Deno.test("systemd's units start culm by commands that there are", async () => {
  for (const name of ["culm-serve", "culm-worker@", "culm-gateway"]) {
    const unit = await textOf(`${name}.service`);
    const [, args] = unit.match(/^ExecStart=\S+deno run (.*)$/m)!;
    check(args.split(" "));
  }
});

Deno.test("the image has the version of this package", async () => {
  const text = await textOf("Dockerfile");
  assert.ok(text.includes(`RUN deno cache ${program}\n`), program);
});
