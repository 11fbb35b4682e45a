/** What the page runs on, as far as browsers tell. */

const browsers = [
  [/Firefox\/(\d+)/, "Firefox"],
  [/Edg\/(\d+)/, "Edge"],
  [/OPR\/(\d+)/, "Opera"],
  [/Chrome\/(\d+)/, "Chrome"],
  [/Version\/(\d+).*Safari/, "Safari"],
];

const systems = [
  [/Android/, "Android"],
  [/iPhone|iPad/, "iOS"],
  [/Mac OS X/, "macOS"],
  [/Windows/, "Windows"],
  [/CrOS/, "ChromeOS"],
  [/Linux/, "Linux"],
];

/** The machine in words: `8 cores, Firefox 153 on Linux`. */
export function machineText() {
  const { hardwareConcurrency: cores, userAgent } = navigator;
  const browser = browsers.find(([pattern]) => pattern.test(userAgent));
  const system = systems.find(([pattern]) => pattern.test(userAgent));
  const name = browser
    ? `${browser[1]} ${browser[0].exec(userAgent)[1]}`
    : "another browser";
  return `${cores} core${cores === 1 ? "" : "s"}, ${name}` +
    (system ? ` on ${system[1]}` : "");
}
