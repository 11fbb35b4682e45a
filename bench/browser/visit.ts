/** One visit of a fresh browser to a side's page, and what it shows. */
import type { Browser, Page } from "puppeteer-core";
import { median } from "../../cli/commands/bench/roofline.ts";
import { openBrowser } from "../../tests/web/browsers.ts";
import { memoryOf } from "./memory.ts";
import type { Measured, Prompt, Timing, Work } from "./page.ts";
import type { SideName } from "./sides.ts";
import { pagePath, type Site } from "./site.ts";

/** What a visit is to do. */
export interface Task extends Work {
  /** What is read at once, and how many tokens then follow */
  readonly prompt: Prompt;
  readonly decode: number;
  /** Texts whose median counts; one goes before that does not */
  readonly texts: number;
}

/** What a visit showed. */
export interface Figures {
  /** Bytes of the engine that came by the network */
  readonly engineBytes: number;
  /** ms from the beginning of the page's loading to its first token: with nothing kept, and with all */
  readonly cold: number;
  readonly cached: number;
  /** Tokens a second */
  readonly prompt: number;
  readonly decode: number;
  /** Bytes that the browser holds more than with an empty page: at the first token, and in the end */
  readonly memoryAtFirst: number;
  readonly memory: number;
}

/** Visits a side. */
export async function visit(
  site: Site,
  side: SideName,
  task: Task,
): Promise<Figures> {
  const browser = await openBrowser("chrome");
  try {
    const empty = await open(browser, `${site.url}/empty`);
    await settled();
    const { pid } = browser.process()!;
    const before = memoryOf(pid!);
    await empty.close();
    site.engineBytes();
    const url = site.url + pagePath(side, task);
    const first = await open(browser, url);
    const cold = await firstToken(first);
    const engineBytes = site.engineBytes();
    // What is kept behind the first token is written.
    await settled();
    await first.close();
    const page = await open(browser, url);
    const cached = await firstToken(page);
    await settled();
    const memoryAtFirst = memoryOf(pid!) - before;
    const timings: Timing[] = [];
    for (let i = 0; i <= task.texts; i++) {
      timings.push(await measure(page, task));
    }
    const rate = (tokens: number, ms: (timing: Timing) => number) =>
      tokens * 1000 / median(timings.slice(1).map(ms));
    await settled();
    return {
      engineBytes,
      cold,
      cached,
      prompt: rate(task.prompt.ids.length, ({ promptMs }) => promptMs),
      decode: rate(task.decode - 1, ({ decodeMs }) => decodeMs),
      memoryAtFirst,
      memory: memoryOf(pid!) - before,
    };
  } finally {
    await browser.close();
  }
}

/** What a page's script has put there. */
declare const globalThis: { page?: Measured };

async function open(browser: Browser, url: string): Promise<Page> {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(error));
  await page.goto(url);
  return page;
}

async function firstToken(page: Page): Promise<number> {
  await page.waitForFunction(() => globalThis.page !== undefined);
  return await page.evaluate(() => globalThis.page!.firstToken);
}

async function measure(
  page: Page,
  { prompt, decode }: Task,
): Promise<Timing> {
  return await page.evaluate(
    (prompt, decode) => globalThis.page!.measure(prompt, decode),
    prompt,
    decode,
  );
}

/** Waits until a browser does nothing more of what it was asked. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 500));
}
