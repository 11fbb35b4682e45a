/** A picture of what was measured, to be shown around. */
import { percent } from "../answer_stats.js";
import { colourOf } from "./colours.js";
import { speedText } from "./measure.js";

/** Px, as previews of links have them. */
const width = 1200, height = 630, margin = 64;

const family = "system-ui, sans-serif";

/** Draws a result on a canvas, in the colours that are on, below a picture of neurons. */
export function drawCard(canvas, picture, result) {
  const { title, info, exact, dense, machine } = result;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const write = (text, x, y, { size, colour = "--text", weight = 400 }) => {
    context.font = `${weight} ${size}px ${family}`;
    context.fillStyle = colourOf(colour);
    context.fillText(text, x, y);
    return context.measureText(text).width;
  };
  context.fillStyle = colourOf("--back");
  context.fillRect(0, 0, width, height);
  picture.paintOn(context, { width, height: 148 });

  write("culm", margin, 236, { size: 44, weight: 700, colour: "--accent" });
  context.textAlign = "right";
  write(fitted(context, title), width - margin, 236, { size: 36 });
  context.textAlign = "left";

  const best = exact ?? dense;
  const speed = speedText(best.perSecond);
  const taken = write(speed, margin - 6, 400, { size: 168, weight: 700 });
  write("tokens/s", margin + taken + 12, 400, { size: 44, colour: "--faint" });
  if (exact) {
    context.textAlign = "right";
    const times = `${(exact.perSecond / dense.perSecond).toFixed(2)}×`;
    write(times, width - margin, 360, {
      size: 84,
      weight: 700,
      colour: "--accent",
    });
    write(
      `as fast as dense (${speedText(dense.perSecond)})`,
      width - margin,
      402,
      {
        size: 28,
        colour: "--faint",
      },
    );
    context.textAlign = "left";
  }

  const length = width - 2 * margin;
  context.fillStyle = colourOf("--line");
  context.fillRect(margin, 452, length, 14);
  context.fillStyle = colourOf("--accent");
  const computed = exact ? 1 - exact.skippedShare : 1;
  context.fillRect(margin, 452, length * computed, 14);
  write(
    exact
      ? `${percent(computed)} of ${info.neurons} neurons computed for a token`
      : `all of ${info.neurons} neurons computed for a token`,
    margin,
    510,
    { size: 28 },
  );
  write(`${machine} · ${info.backend}`, margin, 562, {
    size: 24,
    colour: "--faint",
  });
  canvas.setAttribute(
    "aria-label",
    `culm, ${title}: ${speed} tokens per second on ${machine}`,
  );
}

/** As much of a title as there is room for. */
function fitted(context, title) {
  context.font = `400 36px ${family}`;
  let text = title;
  while (context.measureText(text).width > 800) text = `${text.slice(0, -2)}…`;
  return text;
}
