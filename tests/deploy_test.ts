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
      /^--(allow-(read|net|env)=.+|cached-only|no-prompt)$/,
    );
  }
}

/** Checks that a gateway reaches its upstreams, and has a key where they ask for one. */
function checkTogether(all: readonly (readonly string[])[]): void {
  const gateway = all.find((args) => args.includes("gateway"))!;
  const serve = all.find((args) => args.includes("serve"))!;
  const flags = (args: readonly string[]) =>
    args.flatMap((arg) => arg.split("="));
  assert.equal(
    flags(gateway).includes("--upstream-api-key-file"),
    flags(serve).includes("--api-key-file"),
  );
  const net = gateway.find((arg) => arg.startsWith("--allow-net="))!;
  const hosts = gateway.join(" ").matchAll(/--upstream[= ]http:\/\/(\S+)/g);
  for (const [, host] of hosts) {
    assert.ok(net.split(/[=,]/).includes(host), `${host} in ${net}`);
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
  checkTogether(found);
});

Deno.test("kubernetes.yaml starts culm by commands that there are", async () => {
  const found = commandsIn(parseAll(await textOf("kubernetes.yaml")), "args");
  assert.equal(found.length, 3);
  for (const args of found) check(args);
  checkTogether(found);
});

Deno.test("systemd's units start culm by commands that there are", async () => {
  const found: string[][] = [];
  for (const name of ["culm-serve", "culm-worker@", "culm-gateway"]) {
    const unit = await textOf(`${name}.service`);
    const [, args] = unit.match(/^ExecStart=\S+deno run (.*)$/m)!;
    found.push(args.split(" "));
  }
  for (const args of found) check(args);
  checkTogether(found);
});

Deno.test("the image has the version of this package", async () => {
  const text = await textOf("Dockerfile");
  assert.ok(text.includes(`RUN deno cache ${program}\n`), program);
});
