/** What somebody does on a page, and sees of it. */
import assert from "node:assert/strict";
import axe from "axe-core";
import type { Browser, ElementHandle, Page } from "puppeteer-core";

/** Pixels of a window with all columns, and of a phone. */
export const wide = { width: 1400, height: 900 };
export const phone = { width: 360, height: 740 };

/** Ms that anything may take. */
export const patience = 10_000;

/** A window on a page. */
export class Visitor {
  /** What its scripts complained about */
  readonly complaints: string[] = [];

  constructor(readonly page: Page) {
    page.on("console", (message) => {
      if (message.type() === "error") this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
  }

  /** Opens a page; `prepare` runs in it before anything of it does. */
  static async open(
    browser: Browser,
    url: string,
    prepare?: () => void,
  ): Promise<Visitor> {
    const page = await browser.newPage();
    page.setDefaultTimeout(patience);
    await page.setViewport(wide);
    // Before anything of the page runs.
    await page.evaluateOnNewDocument(() => {
      const violations: string[] = [];
      Object.assign(globalThis, { violations });
      document.addEventListener("securitypolicyviolation", (event) => {
        violations.push(`${event.violatedDirective}: ${event.blockedURI}`);
      });
    });
    if (prepare) await page.evaluateOnNewDocument(prepare);
    const visitor = new Visitor(page);
    await page.goto(url);
    return visitor;
  }

  /** What the policy has stopped. */
  violations(): Promise<string[]> {
    return this.page.evaluate(() =>
      (globalThis as unknown as { violations: string[] }).violations
    );
  }

  texts(selector: string): Promise<string[]> {
    return this.page.$$eval(
      selector,
      (elements) =>
        elements.map((each) =>
          each.checkVisibility() ? (each as HTMLElement).innerText : ""
        ),
    );
  }

  /** The text of the last element of a selector. */
  async text(selector: string): Promise<string> {
    return (await this.texts(selector)).at(-1) ?? "";
  }

  /** Waits until the last element of a selector has such a text. */
  async untilText(
    selector: string,
    pattern: RegExp,
    ms = patience,
  ): Promise<string> {
    const end = Date.now() + ms;
    for (;;) {
      const text = await this.text(selector);
      if (pattern.test(text)) return text;
      assert.ok(
        Date.now() < end,
        `${selector}: ${text} is not ${pattern}; ${this.complaints}`,
      );
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Waits until there are so many of a selector. */
  async untilCount(selector: string, count: number): Promise<void> {
    const end = Date.now() + patience;
    for (;;) {
      const { length } = await this.texts(selector);
      if (length === count) return;
      assert.ok(
        Date.now() < end,
        `${length} ${selector}, not ${count}; ${this.complaints}`,
      );
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** The last button with a label. */
  async button(label: string): Promise<ElementHandle<Element>> {
    const role = `[name="${label}"][role="button"]`;
    const found = await this.page.$$(`aria/${role}`);
    assert.ok(found.length > 0, `there is no button ${label}`);
    return found.at(-1)!;
  }

  async press(label: string): Promise<void> {
    const button = await this.button(label);
    await button.evaluate((element) => (element as HTMLElement).click());
  }

  async say(text: string): Promise<void> {
    // Chromium loses keys in the moment in which a dialog has closed.
    for (let tries = 0; tries < 3 && await this.typed() !== text; tries++) {
      await this.page.$eval(
        "#prompt",
        (box) => (box as HTMLTextAreaElement).value = "",
      );
      await this.page.type("#prompt", text);
    }
    await this.page.keyboard.press("Enter");
  }

  /** What stands in the box. */
  typed(): Promise<string> {
    return this.page.$eval(
      "#prompt",
      (box) => (box as HTMLTextAreaElement).value,
    );
  }

  /** Says something, and waits for the answer. */
  async ask(text: string): Promise<string> {
    const before = (await this.texts(".assistant")).length;
    await this.say(text);
    await this.untilCount(".assistant", before + 1);
    return await this.answer();
  }

  /** The last answer, when it is complete. */
  async answer(): Promise<string> {
    await this.untilText(".assistant:last-child .actions", /Regenerate/);
    return await this.text(".assistant .text");
  }

  /** Checks that axe finds nothing that keeps people out. */
  async checkAccess(what: string): Promise<void> {
    await this.page.evaluate(axe.source);
    const found = await this.page.evaluate(async () => {
      // deno-lint-ignore no-explicit-any -- what the text above has made
      const { violations } = await (globalThis as any).axe.run();
      // deno-lint-ignore no-explicit-any -- of axe
      return violations.map(({ id, nodes }: any) =>
        // deno-lint-ignore no-explicit-any -- of axe
        `${id}: ${nodes.map(({ html }: any) => html).join(" ")}`
      );
    });
    assert.deepEqual(found, [], what);
  }
}
