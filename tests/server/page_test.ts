import assert from "node:assert/strict";
import { tinyServer } from "./tiny_server.ts";

const web = new URL("../../web/", import.meta.url);

Deno.test("the page is served, with all files that it names", async () => {
  await using tiny = await tinyServer();
  const response = await tiny.get("/");
  assert.equal(
    response.headers.get("content-type"),
    "text/html; charset=utf-8",
  );
  const html = await response.text();
  assert.equal(html, await Deno.readTextFile(new URL("index.html", web)));
  assert.equal(await (await tiny.get("/index.html")).text(), html);
  const seen = new Set<string>();
  const visit = async (name: string) => {
    if (seen.has(name)) return;
    seen.add(name);
    const file = await tiny.get(`/assets/${name}`);
    assert.equal(file.status, 200, name);
    const text = await file.text();
    assert.equal(text, await Deno.readTextFile(new URL(name, web)));
    assert.match(file.headers.get("content-type")!, typeOf(name));
    for (const [, next] of text.matchAll(/from "\.\/([^"]+)"/g)) {
      await visit(next);
    }
  };
  const named = [...html.matchAll(/(?:href|src)="assets\/([^"]+)"/g)];
  for (const [, name] of named) await visit(name);
  const files = [...Deno.readDirSync(web)]
    .filter(({ isFile }) => isFile)
    .map(({ name }) => name);
  assert.deepEqual([...seen, "index.html"].sort(), files.sort());
});

function typeOf(name: string): RegExp {
  if (name.endsWith(".js")) return /^text\/javascript; charset=utf-8$/;
  return name.endsWith(".css")
    ? /^text\/css; charset=utf-8$/
    : /^image\/svg\+xml$/;
}

Deno.test("the page may do nothing but run its own scripts and ask its server", async () => {
  await using tiny = await tinyServer();
  for (const path of ["/", "/assets/main.js"]) {
    const { headers } = await tiny.get(path);
    assert.equal(
      headers.get("content-security-policy"),
      "default-src 'none'; script-src 'self'; style-src 'self'; " +
        "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; " +
        "form-action 'none'; frame-ancestors 'none'",
    );
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    assert.equal(headers.get("referrer-policy"), "no-referrer");
  }
  const html = await (await tiny.get("/")).text();
  assert.doesNotMatch(html, /<script>|<style|style=|\son\w+=/);
});

Deno.test("a browser that has a file of the page is told so", async () => {
  await using tiny = await tinyServer();
  const ask = (tag: string) =>
    tiny.server.fetch(
      new Request("http://localhost/assets/main.js", {
        headers: { "if-none-match": tag },
      }),
    );
  const tag = (await tiny.get("/assets/main.js")).headers.get("etag")!;
  for (const known of [tag, `W/${tag}`, `"other", ${tag}`]) {
    const response = await ask(known);
    assert.equal(response.status, 304);
    assert.equal(response.headers.get("etag"), tag);
    assert.equal(await response.text(), "");
  }
  assert.equal((await ask('"other"')).status, 200);
});

Deno.test("files that the page does not have are not there", async () => {
  await using tiny = await tinyServer();
  for (
    const path of [
      "/assets/",
      "/assets/other.js",
      "/assets/toString",
      "/assets/..%2fserver.ts",
      "/assets/main.js/x",
    ]
  ) {
    const response = await tiny.get(path);
    assert.equal(response.status, 404, path);
    await response.body!.cancel();
  }
});

Deno.test("the page needs no key, and what it asks for does", async () => {
  await using tiny = await tinyServer({ apiKeys: ["secret"] });
  for (
    const [path, status] of [
      ["/", 200],
      ["/index.html", 200],
      ["/assets/main.js", 200],
      ["/v1/models", 401],
      ["/assetsx", 401],
    ] as const
  ) {
    const response = await tiny.get(path);
    assert.equal(response.status, status, path);
    await response.body!.cancel();
  }
});

Deno.test("a server without a page has none", async () => {
  await using tiny = await tinyServer({ ui: false });
  for (const path of ["/", "/index.html", "/assets/main.js"]) {
    assert.equal((await tiny.get(path)).status, 404);
  }
});
