/**
 * JSON schemas of things that programs exchange, in the project's own words, cut to
 * what texts of modest length satisfy: files of settings, messages, records, trees.
 */

type Schema = Record<string, unknown>;
type Properties = Record<string, unknown>;

const bool = { type: "boolean" };
const uri = { type: "string", format: "uri", maxLength: 40 };
const date = { type: "string", format: "date" };
const time = { type: "string", format: "date-time" };
const uuid = { type: "string", format: "uuid" };
const email = { type: "string", format: "email", maxLength: 30 };
const version = { type: "string", pattern: "^[0-9]{1,3}(\\.[0-9]{1,3}){2}$" };
const word = (maxLength = 16) => ({ type: "string", maxLength });
const id = (maxLength = 12) => ({
  type: "string",
  pattern: `^[a-z][a-z0-9_-]{0,${maxLength - 1}}$`,
});
const int = (minimum = 0, maximum = 999) => ({
  type: "integer",
  minimum,
  maximum,
});
const real = (minimum: number, maximum: number) => ({
  type: "number",
  minimum,
  maximum,
});
const list = (items: unknown, maxItems = 2, minItems = 0) => ({
  type: "array",
  items,
  minItems,
  maxItems,
});
const oneOf = (...values: unknown[]) => ({ enum: values });
const ref = (name: string) => ({ $ref: `#/$defs/${name}` });

/** An object of these properties alone; those whose names end with "?" may be left out. */
function object(properties: Properties, more: Schema = {}): Schema {
  const all = Object.entries(properties);
  const nameOf = (key: string) => key.replace(/\?$/, "");
  return {
    type: "object",
    properties: Object.fromEntries(
      all.map(([key, schema]) => [nameOf(key), schema]),
    ),
    required: all.map(([key]) => key).filter((key) => !key.endsWith("?")),
    additionalProperties: false,
    ...more,
  };
}

/** By name. */
export const realSchemas: Readonly<Record<string, Schema>> = {
  "package.json": object({
    name: { type: "string", pattern: "^(@[a-z]{1,8}/)?[a-z][a-z0-9-]{0,12}$" },
    version,
    "description?": word(30),
    "type?": oneOf("module", "commonjs"),
    "license?": oneOf("MIT", "Apache-2.0", "ISC"),
    "private?": bool,
    "keywords?": list(id()),
  }, { $schema: "http://json-schema.org/draft-07/schema#" }),
  "dependencies": {
    type: "object",
    properties: { lodash: version, react: version },
    required: ["lodash", "react"],
    additionalProperties: { type: "string", pattern: "^[~^]?[0-9]\\.[0-9]$" },
    maxProperties: 3,
  },
  "tsconfig": object({
    compilerOptions: object({
      "target?": oneOf("ES2020", "ES2022", "ESNext"),
      "module?": oneOf("NodeNext", "ESNext", "CommonJS"),
      "strict?": bool,
      "outDir?": word(12),
      "lib?": list(oneOf("DOM", "ES2022", "WebWorker")),
    }),
    "include?": list(word(12)),
  }),
  "GeoJSON geometry": {
    anyOf: [
      object({ type: { const: "Point" }, coordinates: ref("position") }),
      object({
        type: { const: "LineString" },
        coordinates: list(ref("position"), 3, 2),
      }),
    ],
    $defs: {
      position: {
        type: "array",
        prefixItems: [real(-180, 180), real(-90, 90)],
        items: false,
        minItems: 2,
      },
    },
  },
  "GeoJSON feature": object({
    type: { const: "Feature" },
    geometry: object({
      type: { const: "Point" },
      coordinates: list(real(-90, 90), 3, 2),
    }),
    properties: { anyOf: [{ type: "null" }, object({ name: word() })] },
  }),
  "OpenAPI info": object({
    openapi: { type: "string", pattern: "^3\\.1\\.[0-9]$" },
    info: object({
      title: word(20),
      version,
      "license?": object({ name: oneOf("MIT", "BSD") }),
    }),
    paths: {
      type: "object",
      patternProperties: {
        "^/[a-z]{1,6}$": object({ summary: word(12) }),
      },
      properties: { "/pets": object({ summary: word(12) }) },
      required: ["/pets"],
      additionalProperties: false,
      maxProperties: 1,
    },
  }),
  "OpenAPI parameter": object({
    name: id(),
    in: oneOf("query", "header", "path", "cookie"),
    required: bool,
    schema: object({
      type: oneOf("string", "integer"),
      "format?": oneOf("int32", "int64", "date"),
    }),
  }),
  "OpenAPI numbers": object({
    small: { type: "integer", format: "int32" },
    byte: { type: "integer", format: "uint8" },
    share: { type: "number", format: "float", minimum: 0, maximum: 1 },
  }),
  "JSON resume": object({
    basics: object({ name: word(20), "email?": email, "summary?": word(30) }),
    work: list(object({ name: word(), position: word(), startDate: date })),
    skills: list(object({ name: word(10), level: oneOf("junior", "senior") })),
  }),
  "GitHub workflow": object({
    name: word(),
    on: oneOf("push", "pull_request", "workflow_dispatch"),
    jobs: object({
      build: object({
        "runs-on": oneOf("ubuntu-latest", "macos-latest", "windows-latest"),
        steps: list(
          {
            anyOf: [
              object({ uses: { const: "actions/checkout@v4" } }),
              object({ name: word(12), run: word(20) }),
            ],
          },
          2,
          1,
        ),
      }),
    }),
  }),
  "CycloneDX": object({
    bomFormat: { const: "CycloneDX" },
    specVersion: oneOf("1.4", "1.5", "1.6"),
    serialNumber: { type: "string", pattern: "^urn:uuid:[0-9a-f]{8}$" },
    version: int(1, 9),
    components: list(object({
      type: oneOf("application", "library", "container"),
      name: id(),
      version,
    })),
  }),
  "SPDX package": object({
    SPDXID: { type: "string", pattern: "^SPDXRef-[A-Za-z0-9.]{1,8}$" },
    name: id(),
    downloadLocation: oneOf("NOASSERTION", "NONE"),
    filesAnalyzed: bool,
  }),
  "docker compose": object({
    services: object({
      web: object({
        image: id(),
        "ports?": list({ type: "string", pattern: "^[0-9]{2,5}:[0-9]{2,5}$" }),
        "restart?": oneOf("no", "always", "on-failure"),
      }),
      "db?": object({ image: { const: "postgres:16" } }),
    }),
  }),
  "Kubernetes pod": object({
    apiVersion: { const: "v1" },
    kind: { const: "Pod" },
    metadata: object({ name: id(), "labels?": object({ app: id() }) }),
    spec: object({
      containers: list(
        object({
          name: id(),
          image: id(),
          "resources?": object({
            cpu: { type: "string", pattern: "^[1-9][0-9]{0,2}m$" },
          }),
        }),
        2,
        1,
      ),
    }),
  }),
  "ESLint": object({
    root: bool,
    extends: list(oneOf("eslint:recommended", "prettier")),
    rules: object({
      "no-console?": ref("level"),
      "eqeqeq?": ref("level"),
      "indent?": {
        type: "array",
        prefixItems: [ref("level"), int(2, 8)],
        items: false,
      },
    }),
  }, { $defs: { level: oneOf("off", "warn", "error", 0, 1, 2) } }),
  "prettier": object({
    "tabWidth?": int(1, 8),
    "semi?": bool,
    "singleQuote?": bool,
    "trailingComma?": oneOf("none", "es5", "all"),
  }),
  "renovate": object({
    extends: list(word(), 1, 1),
    schedule: list(oneOf("before 4am", "on monday"), 1),
    automerge: bool,
  }),
  "web app manifest": object({
    name: word(20),
    start_url: word(10),
    display: oneOf("fullscreen", "standalone", "browser"),
    theme_color: { type: "string", pattern: "^#[0-9a-fA-F]{6}$" },
    icons: list(object({ src: word(12), sizes: oneOf("192x192", "512x512") })),
  }),
  "browser extension": object({
    manifest_version: { const: 3 },
    name: word(),
    version,
    permissions: list(oneOf("storage", "tabs", "alarms")),
  }),
  "import map": object({ imports: object({ "std/": uri, "app?": word() }) }),
  "JSON schema": object({
    type: oneOf("object", "string"),
    "title?": word(),
    "properties?": object({ "a?": { $ref: "#" }, "b?": { type: "boolean" } }),
  }),
  "JSON patch": {
    ...list(
      {
        anyOf: [
          object({ op: { const: "remove" }, path: ref("pointer") }),
          object({
            op: oneOf("add", "replace", "test"),
            path: ref("pointer"),
            value: { anyOf: [word(6), int(), bool, { type: "null" }] },
          }),
          object({
            op: oneOf("move", "copy"),
            from: ref("pointer"),
            path: ref("pointer"),
          }),
        ],
      },
      2,
      1,
    ),
    $defs: { pointer: { type: "string", pattern: "^(/[a-z0-9]{1,5}){1,3}$" } },
  },
  "JSON RPC": {
    oneOf: [
      object({
        jsonrpc: { const: "2.0" },
        id: int(),
        method: id(),
        "params?": list(int(), 3),
      }),
      object({
        jsonrpc: { const: "2.0" },
        id: int(),
        error: object({ code: int(-32768, -32000), message: word() }),
      }),
    ],
  },
  "problem details": object({
    type: uri,
    title: word(20),
    status: int(400, 599),
    "detail?": word(30),
  }),
  "cloud event": object({
    specversion: { const: "1.0" },
    id: uuid,
    source: word(),
    type: { type: "string", pattern: "^com\\.[a-z]{1,8}\\.[a-z]{1,8}$" },
    time,
    "data?": { anyOf: [int(), word()] },
  }),
  "webhook": object({
    event: oneOf("created", "updated", "deleted"),
    at: time,
    object: object({ id: uuid, url: uri }),
  }),
  "token claims": object({
    iss: uri,
    sub: uuid,
    aud: { anyOf: [id(), list(id(), 2, 1)] },
    exp: int(0, 2_000_000_000),
    "scope?": oneOf("read", "write", "read write"),
  }),
  "public key": object({
    kty: { const: "EC" },
    crv: oneOf("P-256", "P-384"),
    x: { type: "string", pattern: "^[A-Za-z0-9_-]{8}$" },
    y: { type: "string", pattern: "^[A-Za-z0-9_-]{8}$" },
  }),
  "chat completion": object({
    model: id(),
    messages: list(
      object({ role: oneOf("system", "user"), content: word(20) }),
      2,
      1,
    ),
    "temperature?": real(0, 2),
    "stop?": { anyOf: [word(4), list(word(4)), { type: "null" }] },
  }),
  "tool call": {
    anyOf: [
      object({
        name: { const: "get_weather" },
        arguments: object({
          city: word(),
          "unit?": oneOf("celsius", "fahrenheit"),
        }),
      }),
      object({
        name: { const: "search" },
        arguments: object({ query: word(20), limit: int(1, 20) }),
      }),
    ],
  },
  "extracted facts": object({
    people: list(object({ name: word(), "born?": date })),
    places: list(word()),
    sentiment: oneOf("positive", "neutral", "negative"),
    confidence: real(0, 1),
  }),
  "classification": object({
    label: oneOf("spam", "ham"),
    reasons: list(word(20), 2, 1),
  }),
  "recipe": object({
    title: word(20),
    servings: int(1, 12),
    ingredients: list(
      object({
        item: word(12),
        amount: real(0, 500),
        unit: oneOf("g", "ml", "piece"),
      }),
      2,
      1,
    ),
    steps: list(word(24), 2, 1),
  }),
  "invoice": object({
    number: { type: "string", pattern: "^INV-[0-9]{4}$" },
    issued: date,
    currency: oneOf("EUR", "USD", "JPY"),
    lines: list(
      object({
        text: word(),
        quantity: int(1, 99),
        price: { type: "number", multipleOf: 0.01, minimum: 0, maximum: 999 },
      }),
      2,
      1,
    ),
  }),
  "order": object({
    id: uuid,
    status: oneOf("open", "paid", "sent"),
    total: { type: "number", minimum: 0, exclusiveMaximum: 10000 },
    address: object({
      street: word(),
      zip: { type: "string", pattern: "^[0-9]{5}$" },
      country: { type: "string", pattern: "^[A-Z]{2}$" },
    }),
  }),
  "product": object({
    sku: { type: "string", pattern: "^[A-Z]{2}-[0-9]{3}$" },
    name: word(),
    price: { type: "number", exclusiveMinimum: 0, maximum: 1e4 },
    "size?": oneOf("S", "M", "L", null),
  }),
  "payment": {
    type: "object",
    properties: {
      amount: int(1),
      card: { type: "string", pattern: "^[0-9]{4}$" },
      expires: { type: "string", pattern: "^(0[1-9]|1[0-2])/[0-9]{2}$" },
    },
    required: ["amount"],
    dependentRequired: { card: ["expires"] },
    additionalProperties: false,
  },
  "person": object({
    givenName: word(),
    familyName: word(),
    "birthDate?": date,
    "email?": email,
    age: int(0, 130),
  }),
  "address card": {
    allOf: [
      {
        type: "object",
        properties: { name: word() },
        required: ["name"],
      },
      {
        properties: {
          name: {},
          phone: { type: "string", pattern: "^\\+[0-9]{6,10}$" },
        },
        required: ["phone"],
        additionalProperties: false,
      },
    ],
  },
  "calendar": object({
    summary: word(),
    start: time,
    end: time,
    "repeats?": oneOf("daily", "weekly"),
    "lasts?": { type: "string", format: "duration", maxLength: 8 },
  }),
  "weather": object({
    at: time,
    celsius: real(-60, 60),
    humidity: int(0, 100),
    "wind?": object({ speed: real(0, 80), from: int(0, 359) }),
  }),
  "network": object({
    hostname: { type: "string", format: "hostname", maxLength: 20 },
    ipv4: { type: "string", format: "ipv4" },
    "ipv6?": { type: "string", format: "ipv6" },
    mac: { type: "string", pattern: "^([0-9a-f]{2}:){5}[0-9a-f]{2}$" },
  }),
  "log line": object({
    level: oneOf("debug", "info", "warn", "error"),
    at: time,
    message: word(24),
    "trace?": { type: "string", pattern: "^[0-9a-f]{16}$" },
  }),
  "metrics": list(
    object({
      name: id(),
      value: { type: "number", minimum: -1e6, maximum: 1e6 },
      "labels?": {
        type: "object",
        properties: { host: id() },
        required: ["host"],
        additionalProperties: { type: "string", maxLength: 6 },
        maxProperties: 2,
      },
    }),
    2,
    1,
  ),
  "comment tree": object({
    text: word(12),
    replies: list(ref("comment"), 2),
  }, {
    $defs: {
      comment: object({ text: word(8), "replies?": list(ref("comment"), 1) }),
    },
  }),
  "expression": {
    $ref: "#/$defs/expression",
    $defs: {
      expression: {
        anyOf: [
          int(0, 9),
          object({
            op: oneOf("+", "-", "*"),
            left: int(0, 9),
            right: ref("expression"),
          }),
        ],
      },
    },
  },
  "board": object({
    size: { const: 3 },
    cells: list(list(oneOf("x", "o", ""), 3, 3), 3, 3),
    next: oneOf("x", "o"),
  }),
  "colour": {
    anyOf: [
      { type: "string", pattern: "^#[0-9a-f]{3}$" },
      {
        type: "array",
        prefixItems: [int(0, 255), int(0, 255), int(0, 255)],
        minItems: 3,
        items: false,
      },
      object({ h: int(0, 360), s: real(0, 1), l: real(0, 1) }),
    ],
  },
  "citation": object({
    type: oneOf("book", "article"),
    title: word(24),
    author: list(object({ family: word(10), given: word(10) }), 2, 1),
    issued: object({ year: int(1500, 2100) }),
    "DOI?": { type: "string", pattern: "^10\\.[0-9]{4}/[a-z0-9]{1,6}$" },
  }),
  "translation": object({
    source: { type: "string", pattern: "^[a-z]{2}(-[A-Z]{2})?$" },
    text: word(24),
    "notes?": list(word(12), 1),
  }),
};
