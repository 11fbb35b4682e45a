/** Browsers that a driver steers, where they are installed. */
import { type Browser, launch } from "puppeteer-core";
import { findProgram } from "../helpers/programs.ts";

/** What browsers are called, and under which names they may be installed. */
const programs = {
  chrome: ["chromium", "chromium-browser", "google-chrome"],
  firefox: ["firefox-esr", "firefox"],
} as const;

export type BrowserName = keyof typeof programs;

export const browserNames = Object.keys(programs) as BrowserName[];

/** Where a browser lies; undefined where it is not installed. */
export function browserPath(name: BrowserName): string | undefined {
  return findProgram(programs[name]);
}

/** Flags of Chromium: with a GPU in software, or none. */
const gpuFlags = {
  none: ["--disable-gpu"],
  software: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
};

/** Starts a browser without a window. */
export function openBrowser(
  name: BrowserName,
  gpu: keyof typeof gpuFlags = "none",
): Promise<Browser> {
  return launch({
    browser: name,
    executablePath: browserPath(name),
    headless: true,
    // Whoever runs the tests may be root, which Chromium's sandbox refuses.
    args: name === "chrome" ? ["--no-sandbox", ...gpuFlags[gpu]] : [],
  });
}
