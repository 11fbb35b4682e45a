/** Has pages do what `in_page.ts` can. */
import assert from "node:assert/strict";
import type { Browser, Page } from "puppeteer-core";
import { needs, testNeeding } from "../helpers/needs.ts";
import {
  type BrowserName,
  browserNames,
  browserPath,
  openBrowser,
} from "../web/browsers.ts";
import type { Acts } from "./in_page.ts";

// deno-lint-ignore no-explicit-any -- each has parameters of its own
type AnyActs = Record<string, (...args: any[]) => unknown>;

/** A page that is open in a browser, and what it can do. */
export interface Visit<Of extends AnyActs = Acts> extends AsyncDisposable {
  /** Has the page do something. */
  do<Name extends keyof Of>(
    name: Name,
    ...args: Parameters<Of[Name]>
  ): Promise<Awaited<ReturnType<Of[Name]>>>;
  readonly page: Page;
  reload(): Promise<void>;
  /** What the page's policy has stopped. */
  violations(): Promise<string[]>;
}

/** Opens a page with the scripts in it; what is to run `first` runs ahead of these. */
export async function visit<Of extends AnyActs = Acts>(
  browser: Browser,
  url: string,
  first = "",
): Promise<Visit<Of>> {
  const page = await browser.newPage();
  await page.evaluateOnNewDocument(() => {
    const violations: string[] = [];
    Object.assign(globalThis, { violations });
    document.addEventListener("securitypolicyviolation", (event) => {
      violations.push(`${event.violatedDirective}: ${event.blockedURI}`);
    });
  });
  await page.evaluateOnNewDocument(first);
  const ready = async () => {
    // Policies forbid the driver's own way of waiting.
    while (!await page.evaluate(() => "acts" in globalThis)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await page.goto(url);
  await ready();
  return {
    page,
    async reload() {
      await page.reload();
      await ready();
    },
    violations: () =>
      page.evaluate(() =>
        (globalThis as unknown as { violations: string[] }).violations
      ),
    async do(act, ...args) {
      const { value, error } = await page.evaluate(
        async (act, args) => {
          try {
            // deno-lint-ignore no-explicit-any -- it is passed on as JSON
            return { value: await (globalThis as any).acts[act](...args) };
          } catch (error) {
            const { name, message } = error as Error;
            return { error: { name, message } };
          }
        },
        act,
        args,
      );
      if (error) throw Object.assign(new Error(error.message), error);
      return value;
    },
    [Symbol.asyncDispose]: () => page.close(),
  };
}

/** Has a page of examples/ write a story, within half a minute. */
export async function writesStory(browser: Browser, url: string) {
  const page = await browser.newPage();
  await page.goto(url);
  await page.click("button");
  const end = Date.now() + 30_000;
  let text = "";
  while (!isStory(text) && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    text = await page.$eval("output", ({ textContent }) => textContent ?? "");
  }
  await page.close();
  assert.ok(isStory(text), `it wrote ${text}`);
}

function isStory(text: string): boolean {
  return /^Once upon a time.{100}/s.test(text);
}

/** Registers a test for each browser. */
export function testInBrowsers(
  what: string,
  run: (
    t: Deno.TestContext,
    browser: Browser,
    name: BrowserName,
  ) => Promise<void>,
): void {
  for (const name of browserNames) {
    testNeeding(needs[name], browserPath(name) !== undefined, {
      name: `${what} in ${name}`,
      async fn(t) {
        const browser = await openBrowser(name);
        try {
          await run(t, browser, name);
        } finally {
          await browser.close();
        }
      },
      // The driver leaves timers and a process that ends by itself.
      sanitizeOps: false,
      sanitizeResources: false,
    });
  }
}
