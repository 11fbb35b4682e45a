/**
 * Writes tests/goldens/json_schema_suite.json: what the JSON-Schema-Test-Suite
 * (MIT) says of draft 2020-12, of formats that are only described not. FOLDER is
 * a checkout of https://github.com/json-schema-org/JSON-Schema-Test-Suite at
 * commit 44401e0c046704b476ec9d2e2fccdaee618f259d.
 *
 * Run: `deno run -A scripts/goldens/json_schema_suite.ts FOLDER`
 *
 * @module
 */

/** A schema, and values that it allows or not. */
interface Group {
  readonly description: string;
  readonly schema: unknown;
  readonly tests: readonly {
    readonly data: unknown;
    readonly valid: boolean;
  }[];
}

const folder = `${Deno.args[0]}/tests/draft2020-12`;
const names = [...Deno.readDirSync(folder)]
  .filter(({ name }) => name.endsWith(".json") && name !== "format.json")
  .map(({ name }) => name).sort();
const groups = names.flatMap((name) => {
  const all = JSON.parse(Deno.readTextFileSync(`${folder}/${name}`));
  return all.map(({ description, schema, tests }: Group) => ({
    name: `${name.replace(".json", "")}: ${description}`,
    schema,
    valid: tests.filter(({ valid }) => valid).map(({ data }) => data),
    invalid: tests.filter(({ valid }) => !valid).map(({ data }) => data),
  }));
});
const lines = groups.map((group) => JSON.stringify(group));
await Deno.writeTextFile(
  new URL("../../tests/goldens/json_schema_suite.json", import.meta.url),
  `[\n${lines.join(",\n")}\n]\n`,
);
