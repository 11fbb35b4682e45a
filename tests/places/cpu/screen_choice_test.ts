import assert from "node:assert/strict";
import { ScreenChoice } from "../../../src/places/cpu/screen_choice.ts";

/** Steps without screening until rows are screened again. */
function pauseOf(choice: ScreenChoice, k: number, states = 1): number {
  for (let steps = 0;; steps++) {
    if (choice.screens(states, k)) return steps;
  }
}

/** Screens as often as a median takes. */
function screen(
  choice: ScreenChoice,
  k: number,
  ms: number,
  states = 1,
): void {
  for (let i = 0; i < 7; i++) choice.addScreened(states, k, ms);
}

Deno.test("rows are screened where that is faster, for each number of logits by itself", () => {
  const choice = new ScreenChoice("auto");
  for (let i = 0; i < 20; i++) choice.addWhole(1, 10);
  screen(choice, 40, 10);
  assert.equal(pauseOf(choice, 40), 64);
  screen(choice, 40, 11);
  assert.equal(pauseOf(choice, 40), 128);
  screen(choice, 40, 8);
  assert.equal(pauseOf(choice, 40), 0);
  screen(choice, 1, 5);
  assert.equal(pauseOf(choice, 1), 0);
  // Now and then all rows are read, and may be read faster by then.
  const whole = Array.from({ length: 1000 }, () => choice.screens(1, 1))
    .filter((screens) => !screens);
  assert(whole.length > 0 && whole.length < 10);
  for (let i = 0; i < 7; i++) choice.addWhole(1, 4);
  screen(choice, 1, 5);
  assert(pauseOf(choice, 1) > 0);
});

Deno.test("each number of states has times of its own", () => {
  const choice = new ScreenChoice("auto");
  for (let i = 0; i < 7; i++) choice.addWhole(1, 10);
  screen(choice, 40, 5);
  assert(choice.screens(1, 40));
  // Nothing is known of two yet.
  for (let i = 0; i < 7; i++) {
    assert(!choice.screens(2, 40));
    choice.addWhole(2, 12);
  }
  assert(choice.screens(2, 40));
  screen(choice, 40, 12, 2);
  assert.equal(pauseOf(choice, 40, 2), 64);
  screen(choice, 40, 11, 2);
  assert.equal(pauseOf(choice, 40, 2), 0);
  assert(choice.screens(1, 40));
});

Deno.test("rows are always screened where that is asked for, and not before states were seen", () => {
  const choice = new ScreenChoice("on");
  choice.addWhole(1, 1);
  screen(choice, 40, 100);
  assert.equal(pauseOf(choice, 40), 0);
  for (const mode of ["auto", "on"] as const) {
    const choice = new ScreenChoice(mode);
    assert(choice.learns(0) && !choice.learns(1000));
  }
});
