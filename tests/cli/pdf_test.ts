import assert from "node:assert/strict";
import {
  decodePDFRawStream,
  PDFDocument,
  type PDFName,
  PDFRawStream,
} from "@cantoo/pdf-lib";
import { toPdf } from "../../cli/pdf.ts";
import { runCli } from "./run_cli.ts";
import { tempFolder } from "./temp_folder.ts";

/** The pages of a PDF: their sizes in points, and the texts and operators that are on them. */
async function readPdf(bytes: Uint8Array) {
  const pdf = await PDFDocument.load(bytes);
  return pdf.getPages().map((page) => {
    const contents = page.node.Contents() ?? assert.fail("an empty page");
    const streams = contents instanceof PDFRawStream
      ? [contents]
      : (contents as { asArray(): unknown[] }).asArray().map((reference) =>
        pdf.context.lookup(reference as PDFName) as PDFRawStream
      );
    const content = streams.map((stream) =>
      new TextDecoder().decode(decodePDFRawStream(stream).decode())
    ).join("\n");
    const texts = [...content.matchAll(/<([0-9A-F]*)> Tj/g)].map(([, hex]) =>
      new TextDecoder("windows-1252").decode(Uint8Array.fromHex(hex))
    );
    return { size: page.getSize(), content, texts };
  });
}

Deno.test("a drawing becomes one page of vectors", async () => {
  const [page, ...more] = await readPdf(
    await toPdf(
      `<svg xmlns="http://www.w3.org/2000/svg" width="400" height="200" font-size="10">
      <style>ignored</style>
      <svg x="5" y="7" fill="currentColor"><g transform="translate(1,2) rotate(-90)" stroke="#ff0000" stroke-width="3">
        <line x1="10" y1="20" x2="30" y2="20"/></g>
      <rect x="1" y="2" width="3" height="4" fill="rgb(0, 255, 0)"/>
      <circle cx="50" cy="50" r="5"/>
      <text x="20" y="1em" dy="0.5em">a−b ≠ é &amp; c</text></svg></svg>`,
    ),
  );
  assert.equal(more.length, 0);
  assert.deepEqual(page.size, { width: 300, height: 150 });
  assert.deepEqual(page.texts, ["a–b ? é & c"]);
  const { content } = page;
  assert.match(content, /^0\.75 0 0 -0\.75 0 150 cm$/m, "y downwards");
  const line = content.slice(0, content.indexOf("10 20 m"));
  assert.match(line, /1 0 0 1 5 7 cm\s.*1 0 0 1 1 2 cm\s.*1 0 0 RG\s3 w/s);
  assert.match(content, /10 20 m\s30 20 l\sS\s/, "a line has no area");
  assert.match(content, /0 1 0 rg\s[^f]*1 2 m\s4 2 l\s4 6 l\s1 6 l\sh\sf\s/);
  assert.match(content, /45 50 m\s.* c\s.*h\sf\s/s);
  assert.match(content, /1 0 0 1 20 -15 Tm|1 0 0?(\.0+)? 1 20 -15 Tm/);
});

Deno.test("texts end, or have their middle, where they are to", async () => {
  const xOf = async (anchor: string) => {
    const [{ content }] = await readPdf(
      await toPdf(
        `<svg width="100" height="50"><text x="50" y="10" font-size="10" text-anchor="${anchor}">ii</text></svg>`,
      ),
    );
    return Number(content.match(/(\S+) -10 Tm/)![1]);
  };
  // In Helvetica's metrics an i is 222 thousandths of its size wide.
  assert.equal(await xOf("start"), 50);
  assert.ok(Math.abs(await xOf("middle") - (50 - 2.22)) < 1e-9);
  assert.ok(Math.abs(await xOf("end") - (50 - 4.44)) < 1e-9);
});

Deno.test("what a PDF cannot have is an error, not a gap", async () => {
  for (const svg of ["<image/>", '<g transform="skewX(4)"></g>']) {
    await assert.rejects(
      toPdf(`<svg width="9" height="9">${svg}</svg>`),
      /Cannot draw (<image>|skewX) in a PDF/,
    );
  }
});

Deno.test("a picture whose name ends in .pdf is one, and needs no more permissions", async () => {
  await using dir = await tempFolder();
  const path = `${dir.path}/plan.pdf`;
  const { code, err } = await runCli(
    ["plan", "--machine", "rtx-2080ti", "--json", "--svg", path],
    {
      permissions: [`--allow-read=${dir.path}`, `--allow-write=${dir.path}`],
    },
  );
  assert.equal(code, 0, err);
  assert.equal(err, `wrote ${path}\n`);
  const pages = await readPdf(await Deno.readFile(path));
  assert.equal(pages.length, 1);
  const { texts } = pages[0];
  assert.match(texts[0], /^Bamboo-7B F16: [\d.]+ tokens\/s predicted$/);
  for (const text of ["neurons on the GPU", "exchange", "% of a layer", "28"]) {
    assert.ok(texts.includes(text), text);
  }
});
