import assert from "node:assert/strict";
import type { Browser } from "puppeteer-core";
import { needs, testNeeding } from "../helpers/needs.ts";
import {
  type BrowserName,
  browserNames,
  browserPath,
  openBrowser,
} from "./browsers.ts";
import { type ServedPage, servePage } from "./served_page.ts";
import { patience, phone, Visitor, wide } from "./visitor.ts";

/** Pixels of a window of 1280 by 800 at 400%. */
const enlarged = { width: 320, height: 200 };

for (const name of browserNames) {
  testNeeding(needs[name], browserPath(name) !== undefined, {
    name: `the page in ${name}`,
    fn: (t) => tryPage(t, name),
    // The driver leaves timers and a process that ends by itself.
    sanitizeOps: false,
    sanitizeResources: false,
  });
}

async function tryPage(t: Deno.TestContext, name: BrowserName): Promise<void> {
  await using served = await servePage();
  const browser = await openBrowser(name);
  try {
    const step = (what: string, act: (visitor: Visitor) => Promise<void>) =>
      t.step(what, async () => {
        served.delay = 0;
        const visitor = await Visitor.open(browser, served.url);
        await visitor.untilText("#model", /./);
        try {
          await act(visitor);
          assert.deepEqual(await visitor.violations(), []);
        } finally {
          await visitor.page.close();
        }
      });
    await step("chats", (visitor) => tryChat(visitor));
    await step("stops", (visitor) => tryStop(visitor, served));
    await step("branches", tryBranches);
    await step("keeps what was written", (each) => tryReload(each, served));
    await step("loses the server", (each) => tryLost(each, served));
    await step("takes answers for hostile", tryHostile);
    await step("attaches files", (each) => tryFiles(each, served));
    await step("renames, imports and deletes chats", tryChats);
    await step("has settings", (each) => trySettings(each, served));
    await step("works by the keyboard", tryKeyboard);
    await step("fits, in light and dark, and is accessible", tryLooks);
    await t.step("asks for a key", () => tryKey(browser));
  } finally {
    await browser.close();
  }
}

async function tryChat(visitor: Visitor): Promise<void> {
  assert.match(await visitor.ask("Tom had a ball"), /\w/);
  assert.deepEqual(await visitor.texts(".user .text"), ["Tom had a ball"]);
  assert.match(
    await visitor.text(".assistant .stats"),
    /\d+ tokens? · [\d.]+ tokens\/s · first after \d+\.\d\d s · context \d+ of 512 \([\d.]+\s%\) · [\d.]+\s% of neurons skipped/,
  );
  await visitor.untilText(
    "#neurons-summary",
    /^[\d.]+\s% of the CPU's neurons fire/,
  );
  const label = await visitor.page.$eval(
    "#neurons-picture",
    (canvas) => canvas.getAttribute("aria-label"),
  );
  assert.match(label!, /^6 layers .* neurons fire/);
  const isDrawn = await visitor.page.$eval("#neurons-picture", (element) => {
    const { width, height } = element as HTMLCanvasElement;
    const { data } = (element as HTMLCanvasElement).getContext("2d")!
      .getImageData(0, 0, width, height);
    return data.some((byte) => byte > 0);
  });
  assert.ok(isDrawn);
  await visitor.ask("And then?");
  assert.equal((await visitor.texts(".message")).length, 4);
  assert.deepEqual(visitor.complaints, []);
}

async function tryStop(visitor: Visitor, served: ServedPage): Promise<void> {
  served.delay = 30;
  await visitor.press("New chat");
  await visitor.say("Tell a long story");
  await visitor.untilText(".assistant .text", /\w+ \w+/);
  await visitor.press("Stop");
  await visitor.untilText(".assistant .state", /^Stopped\.$/);
  const text = await visitor.text(".assistant .text");
  assert.match(text, /\w+ \w+/);
  // The server has stopped, too: it has nothing else to do.
  const { engine } = served.model;
  const before = engine.stats().tokens;
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(engine.stats().tokens, before);
  assert.equal(await visitor.text(".assistant .text"), text);
  assert.ok(await visitor.button("Send"));
}

async function tryBranches(visitor: Visitor): Promise<void> {
  await visitor.press("New chat");
  const first = await visitor.ask("One");
  await visitor.press("Regenerate this answer");
  await visitor.untilText(".assistant .branch", /^2 of 2$/);
  const second = await visitor.answer();
  await visitor.press("Previous answer");
  await visitor.untilText(".assistant .branch", /^1 of 2$/);
  assert.equal(await visitor.text(".assistant .text"), first);
  await visitor.press("Edit this message");
  await visitor.page.type(".editor textarea", " and two");
  await visitor.page.keyboard.press("Tab");
  await visitor.page.keyboard.press("Tab");
  await visitor.page.keyboard.press("Enter");
  await visitor.untilText(".user .branch", /^2 of 2$/);
  await visitor.answer();
  assert.equal(await visitor.text(".user .text"), "One and two");
  assert.deepEqual(await visitor.texts(".assistant .branch"), []);
  await visitor.press("Previous message");
  await visitor.untilText(".user .text", /^One$/);
  await visitor.press("Next answer");
  await visitor.untilText(".assistant .branch", /^2 of 2$/);
  // The branch that is shown is there after a reload.
  await visitor.page.reload();
  await visitor.untilText(".assistant .branch", /^2 of 2$/);
  assert.equal(await visitor.text(".assistant .text"), second);
}

async function tryReload(visitor: Visitor, served: ServedPage): Promise<void> {
  served.delay = 30;
  await visitor.press("New chat");
  await visitor.say("Tell a long story");
  await visitor.untilText(".assistant .text", /(\w+\W+){5}/);
  await new Promise((resolve) => setTimeout(resolve, 500));
  const written = await visitor.text(".assistant .text");
  await visitor.page.reload();
  await visitor.untilText(".assistant .state", /page was closed/);
  const kept = await visitor.text(".assistant .text");
  const [some] = /^\W*(\w+\W+){4}/.exec(written)!;
  assert.ok(
    kept.startsWith(some.trim()),
    `${kept} does not begin as ${written}`,
  );
  served.delay = 0;
  await visitor.press("Regenerate this answer");
  await visitor.untilText(".assistant .branch", /^2 of 2$/);
}

async function tryLost(visitor: Visitor, served: ServedPage): Promise<void> {
  served.delay = 30;
  await visitor.press("New chat");
  await visitor.say("Tell a long story");
  await visitor.untilText(".assistant .text", /\w+ \w+/);
  await served.lose();
  await visitor.untilText(".assistant .state", /broke off here/);
  assert.match(await visitor.text(".assistant .text"), /\w+ \w+/);
  await visitor.untilText("#notices", /does not answer/);
  await visitor.say("Are you there?");
  await visitor.untilText(".assistant .state", /broke off here/);
  served.comeBack();
  served.delay = 0;
  await visitor.press("Try now");
  await visitor.untilText("#notices", /^$/);
  await visitor.press("Regenerate this answer");
  await visitor.untilText(".assistant .branch", /^2 of 2$/);
  assert.match(await visitor.answer(), /\w/);
}

/** Text that would do something if it were HTML, or if links led where they say. */
const hostile = `# Heading

<img src="x" onerror="violations.push('ran')"><script>violations.push("ran")</script>

[a script](javascript:violations.push("ran")) [the web](https://example.org/a?b&c "t")
![a picture](https://example.org/p.png) &lt;b&gt; \`<i>\`

| a | b |
| - | -: |
| 1 | **2** |

3. three
   - [x] done
4. four

\`\`\`js
const text = "<b>";
\`\`\`
`;

async function tryHostile(visitor: Visitor): Promise<void> {
  await visitor.press("New chat");
  await visitor.ask("Write some HTML");
  await visitor.press("Edit this answer");
  await visitor.page.$eval(".editor textarea", (area, text) => {
    (area as HTMLTextAreaElement).value = text;
  }, hostile);
  await visitor.press("Save");
  await visitor.untilText(".assistant .branch", /^2 of 2$/);
  const found = await visitor.page.$eval(".assistant .text", (text) => ({
    foreign: text.querySelectorAll("img, script, iframe, style, b, i, object")
      .length,
    handlers: [...text.querySelectorAll("*")].flatMap((element) =>
      element.getAttributeNames().filter((name) => name.startsWith("on"))
    ),
    links: [...text.querySelectorAll("a")].map((link) => [
      link.textContent,
      link.getAttribute("href"),
      link.rel,
    ]),
    heading: text.querySelector("h4")?.textContent,
    cells: [...text.querySelectorAll("td")].map((cell) => cell.className),
    start: text.querySelector("ol")?.start,
    item: text.querySelector("ol ul li")?.textContent,
    code: text.querySelector("pre code")?.textContent,
    text: text.textContent,
  }));
  const rel = "noopener noreferrer nofollow";
  assert.deepEqual(found.links, [
    ["the web", "https://example.org/a?b&c", rel],
    ["image: a picture", "https://example.org/p.png", rel],
  ]);
  assert.deepEqual([found.foreign, found.handlers], [0, []]);
  assert.equal(found.heading, "Heading");
  assert.deepEqual(found.cells, ["", "align-right"]);
  assert.deepEqual([found.start, found.item], [3, "☑ done"]);
  assert.equal(found.code, 'const text = "<b>";');
  assert.match(
    found.text,
    /<img src="x" onerror=.*<script>.*a script.*<b> <i>/s,
  );
  assert.deepEqual(visitor.complaints, []);
}

async function upload(
  visitor: Visitor,
  selector: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  await visitor.page.$eval(selector, (element, files) => {
    const transfer = new DataTransfer();
    for (const [name, text] of Object.entries(files)) {
      transfer.items.add(new File([text], name));
    }
    (element as HTMLInputElement).files = transfer.files;
    element.dispatchEvent(new Event("change"));
  }, files);
}

async function tryFiles(visitor: Visitor, served: ServedPage): Promise<void> {
  await visitor.press("New chat");
  await upload(visitor, "#attach-file", {
    "notes.txt": "Tom has a ball.\n```\nLily has none.",
    "long.txt": "x".repeat(300 * 1024),
    "binary.bin": "a\0b",
  });
  await visitor.untilText("#attached", /notes\.txt, 34 B/);
  await visitor.untilText(
    "#notices",
    /long\.txt: it has 300\.0 KiB, a file may have 256\.0 KiB; binary\.bin: it is no text/,
  );
  await visitor.ask("Who has it?");
  assert.equal(
    served.asked().messages.at(-1).content,
    "notes.txt:\n````\nTom has a ball.\n```\nLily has none.\n````\n\nWho has it?",
  );
  assert.match(await visitor.text(".user summary"), /notes\.txt, 34 B/);
  assert.equal(await visitor.text("#attached"), "");
}

async function tryChats(visitor: Visitor): Promise<void> {
  const chats = () => visitor.texts("#chat-list .chat");
  await visitor.press("New chat");
  await visitor.ask("A chat of its own");
  await visitor.press("Rename A chat of its own");
  await visitor.page.$eval("#new-title", (input) => {
    (input as HTMLInputElement).value = "Another <name>";
  });
  await visitor.page.keyboard.press("Enter");
  await visitor.untilText("#chat-title", /^Another <name>$/);
  const before = await chats();
  assert.equal(before[0], "Another <name>");
  const messages = [
    { id: 1, parent: null, role: "user", content: "Hello" },
    { id: 2, parent: 1, role: "assistant", content: "**Hi**", state: "done" },
  ];
  const chat = { title: "From a file", messages, leaf: 2 };
  await upload(visitor, "#import-file", {
    "chats.json": JSON.stringify({ kind: "culm-chats", chats: [chat] }),
  });
  await visitor.untilText("#chat-title", /^From a file$/);
  assert.deepEqual(await visitor.texts(".message .text"), ["Hello", "Hi"]);
  assert.equal((await chats()).length, before.length + 1);
  await upload(visitor, "#import-file", { "bad.json": '{"kind":1}' });
  await visitor.untilText("#notices", /Cannot import bad\.json: no chats/);
  await visitor.press("Delete From a file");
  await visitor.press("Delete");
  await visitor.untilText("#chat-title", /^Another <name>$/);
  assert.deepEqual(await chats(), before);
}

async function trySettings(
  visitor: Visitor,
  served: ServedPage,
): Promise<void> {
  await visitor.press("New chat");
  await visitor.press("Settings");
  await visitor.page.type("#system", "You are Tom.");
  await visitor.page.type("#setting-temperature", "0");
  await visitor.page.select("#answer-form", "json_schema");
  await visitor.page.type("#schema", "{");
  await visitor.press("Save");
  await visitor.untilText("#schema-fault", /no JSON/);
  const schema = {
    type: "object",
    properties: { ball: { enum: ["red"] } },
    required: ["ball"],
    additionalProperties: false,
  };
  await visitor.page.$eval("#schema", (area, text) => {
    (area as HTMLTextAreaElement).value = text;
  }, JSON.stringify(schema));
  await visitor.press("Save");
  await visitor.untilCount("dialog", 0);
  await visitor.ask("Which ball?");
  const { messages, temperature, response_format } = served.asked();
  assert.deepEqual(messages, [
    { role: "system", content: "You are Tom." },
    { role: "user", content: "Which ball?" },
  ]);
  assert.equal(temperature, 0);
  assert.deepEqual(response_format.json_schema.schema, schema);
  // As the server answers what it was asked.
  const url = new URL("v1/chat/completions", served.url);
  const body = JSON.stringify({ ...served.asked(), stream: false });
  const direct = await fetch(url, { method: "POST", body });
  const { choices } = await direct.json();
  const code = await visitor.text(".assistant pre");
  assert.equal(code, choices[0].message.content);
  assert.deepEqual(JSON.parse(code), { ball: "red" });
}

async function tryKeyboard(visitor: Visitor): Promise<void> {
  const { page } = visitor;
  const focused = () =>
    page.evaluate(() => document.activeElement?.textContent?.trim());
  await page.evaluate(() => (document.activeElement as HTMLElement).blur());
  await page.keyboard.press("Tab");
  const order = [];
  for (let i = 0; i < 5; i++) {
    order.push(await focused());
    await page.keyboard.press("Tab");
  }
  const skip = order.indexOf("Go to the message");
  assert.deepEqual(order.slice(skip + 1, skip + 4), [
    "Chats",
    "Neurons",
    "Settings",
  ]);
  await page.focus(".skip");
  await page.keyboard.press("Enter");
  await page.keyboard.type("By keys alone");
  await page.keyboard.down("Shift");
  await page.keyboard.press("Enter");
  await page.keyboard.up("Shift");
  await page.keyboard.type("in two lines");
  await page.keyboard.press("Enter");
  await visitor.untilText(".user .text", /keys/);
  await visitor.answer();
  assert.equal(
    await visitor.text(".user .text"),
    "By keys alone\nin two lines",
  );
  // What was said is told to people who do not see it.
  await visitor.untilText("#status", /\w/);
  await page.focus("#settings-open");
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog[open]");
  await page.keyboard.press("Escape");
  await visitor.untilCount("dialog", 0);
  assert.equal(await focused(), "Settings");
}

async function tryLooks(visitor: Visitor): Promise<void> {
  const { page } = visitor;
  await visitor.ask("How do you look?");
  await page.click("#neurons details summary");
  for (const theme of ["light", "dark"]) {
    await page.evaluate((theme) => {
      document.documentElement.dataset.theme = theme;
    }, theme);
    await page.setViewport(wide);
    await visitor.checkAccess(`${theme}, wide`);
    await page.setViewport(phone);
    await visitor.checkAccess(`${theme}, on a phone`);
  }
  await visitor.press("Settings");
  await visitor.checkAccess("settings");
  await page.keyboard.press("Escape");
  for (const size of [phone, enlarged]) {
    await page.setViewport(size);
    const reach = await page.evaluate(() => {
      const all = [...document.querySelectorAll("button, textarea, .text")]
        .filter((element) => element.checkVisibility());
      return {
        right: Math.max(
          ...all.map((element) => element.getBoundingClientRect().right),
        ),
        width: document.documentElement.scrollWidth,
      };
    });
    assert.ok(reach.right <= size.width, `${reach.right} of ${size.width}`);
    assert.ok(reach.width <= size.width, `${reach.width} of ${size.width}`);
    const isThere = await page.$eval("#send", (button) => {
      button.scrollIntoView();
      const { left, top, width, height } = button.getBoundingClientRect();
      const x = left + width / 2, y = top + height / 2;
      return button.contains(document.elementFromPoint(x, y));
    });
    assert.ok(isThere, `Send cannot be reached at ${size.width} pixels`);
  }
}

async function tryKey(browser: Browser): Promise<void> {
  await using served = await servePage({ apiKeys: ["right"] });
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  const visitor = new Visitor(page);
  await page.goto(served.url);
  await page.waitForSelector("dialog #api-key");
  await page.type("#api-key", "wrong");
  await page.keyboard.press("Enter");
  await visitor.untilText("dialog h2", /does not know this key/);
  await page.type("#api-key", "right");
  await page.keyboard.press("Enter");
  await visitor.untilText("#model", /./);
  assert.match(await visitor.ask("Am I let in?"), /\w/);
  await page.reload();
  await visitor.untilText("#model", /./);
  const kept = await page.evaluate(() => JSON.stringify({ ...localStorage }));
  assert.doesNotMatch(kept, /right/);
  await context.close();
}
