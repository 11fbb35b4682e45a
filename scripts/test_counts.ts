/**
 * Counts tests from the reports that `deno test` and `cargo test` write.
 *
 * @module
 */

/** How many tests ran with which end, and the names of those that did not run. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: string[];
}

/**
 * Counts the cases of a JUnit report.
 *
 * @throws {Error} when it holds none: a run that tested nothing has not passed.
 */
export function junitCounts(xml: string): Counts {
  const counts = countCases(xml);
  if (counts.passed + counts.failed === 0) {
    throw new Error("the JUnit report holds no test that ran");
  }
  return counts;
}

/** Counts the cases of a JUnit report, which may be none. */
export function countCases(xml: string): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: [] };
  // A case is either empty (`<testcase …/>`) or holds how it ended.
  const cases = xml.matchAll(/<testcase\b([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs);
  for (const [, attributes, body] of cases) {
    if (body !== undefined && /<(failure|error)\b/.test(body)) counts.failed++;
    else if (body !== undefined && /<skipped\b/.test(body)) {
      const name = /\bname="([^"]*)"/.exec(attributes)?.[1] ?? "";
      counts.skipped.push(unescapeXml(name));
    } else counts.passed++;
  }
  return counts;
}

function unescapeXml(text: string): string {
  const named = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replaceAll(
    /&(lt|gt|quot|apos|amp);/g,
    (_, name: keyof typeof named) => named[name],
  );
}

/**
 * Adds up cargo's closing lines (`test result: ok. 3 passed; 0 failed; …`),
 * one for each test binary.
 *
 * @throws {Error} when there is none.
 */
export function cargoCounts(stdout: string): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: [] };
  const lines = [
    ...stdout.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed;/gm),
  ];
  if (lines.length === 0) throw new Error("cargo printed no test result");
  for (const [, passed, failed] of lines) {
    counts.passed += Number(passed);
    counts.failed += Number(failed);
  }
  return counts;
}
