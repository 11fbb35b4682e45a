/** A race as a page that replays it: one file, which loads nothing. */
import { escaped } from "../../svg.ts";
import { printable } from "../../terminal.ts";
import { durationOf, momentOf, type Track } from "./track.ts";

/** The page. `title` says what was run, and where. */
export function racePage(title: string, tracks: readonly Track[]): string {
  const data = JSON.stringify(tracks).replaceAll("<", "\\u003c");
  const columns = tracks.map(({ name }) => `
<article>
<h2>${textOf(name)}</h2>
<p class="rate">–</p>
<p class="text"></p>
</article>`);
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${textOf(title)}</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>${textOf(title)}</h1>
<p><button type="button">Replay</button>
<label>Speed <select><option value="1">as it was</option><option value="4">4 times</option><option value="0.25">a quarter</option></select></label>
<output></output></p>
</header>
<main>${columns.join("")}
</main>
<script>
const tracks = ${data};
const duration = ${Math.max(...tracks.map(durationOf))};
${script}</script>
</body>
</html>
`;
}

function textOf(text: string): string {
  return escaped(printable(text));
}

const style = `
  body { margin: 2em auto; max-width: 1200px; padding: 0 1em; font: 16px/1.5 system-ui, sans-serif; }
  h1 { font-size: 1.2em; overflow-wrap: anywhere; }
  main { display: grid; grid-template-columns: repeat(auto-fit, minmax(16em, 1fr)); gap: 1.5em; }
  h2 { font-size: 1em; margin: 0; }
  .rate { font-size: 2em; margin: 0; font-variant-numeric: tabular-nums; }
  .done .rate { color: #2e7d32; }
  .text { white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: 0.9em; min-height: 16em; }
  @media (prefers-color-scheme: dark) { .done .rate { color: #81c784; } }
`;

/** Shows each track as it was, a frame after another. */
const script = `
const momentOf = ${momentOf};
const articles = [...document.querySelectorAll("article")];
const speed = document.querySelector("select");
const clock = document.querySelector("output");
let running = 0;
function show(ms) {
  tracks.forEach((track, i) => {
    const { text, rate, isDone } = momentOf(track, ms);
    const [, rateShown, textShown] = articles[i].children;
    articles[i].className = isDone ? "done" : "";
    rateShown.textContent = rate === undefined
      ? "–" : rate.toFixed(1) + " tokens/s";
    textShown.textContent = text;
  });
  clock.textContent = (Math.min(ms, duration) / 1000).toFixed(1) + " s";
}
function play() {
  const mine = ++running, start = performance.now();
  const factor = Number(speed.value);
  requestAnimationFrame(function frame() {
    if (mine !== running) return;
    const ms = factor * (performance.now() - start);
    show(ms);
    if (ms < duration) requestAnimationFrame(frame);
  });
}
document.querySelector("button").addEventListener("click", play);
speed.addEventListener("change", play);
matchMedia("(prefers-reduced-motion: reduce)").matches ? show(duration) : play();
`;
