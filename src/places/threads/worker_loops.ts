/**
 * The loops by which places in workers of their own run steps. They throw when
 * the team is stopped; `onTrace` is given what traced steps recorded.
 *
 * @module
 */
import { scheduleOf } from "../../plan/schedule.ts";
import type { CpuPlace } from "../cpu/cpu_place.ts";
import { barrierAt, Participant } from "../exchange.ts";
import type { GpuPlace } from "../gpu/gpu_place.ts";
import type { GpuSidePlace } from "../place.ts";
import { type OnTrace, Recorder } from "../trace.ts";
import { traceGpu, watched } from "../traced_place.ts";
import type { Shared } from "./shared.ts";

/** Runs the steps of CPU place number `index`; blocks the thread while it waits. */
export function runCpuSteps(
  place: CpuPlace,
  index: number,
  shared: Shared,
  onTrace: OnTrace,
): void {
  const { control, exchanged, options: { model, plan } } = shared;
  const schedule = scheduleOf(model, plan);
  const forward = (place: CpuPlace) => {
    const own = new Participant("cpu", place, index, exchanged);
    for (const point of own.forward(schedule)) {
      own.put(point);
      control.barrier("cpu", barrierAt(point));
      own.take(point);
    }
  };
  for (let step = 0;;) {
    step = control.nextStep(step);
    switch (control.task) {
      case "forward":
        forward(place);
        break;
      case "trace": {
        const recorder = control.recorder = new Recorder();
        forward(watched(place, recorder));
        control.recorder = undefined;
        onTrace([{ kind: "cpu", events: recorder.events }]);
        break;
      }
      case "measure":
        shared.putRates(index, place.measureRates());
        break;
      case "reserve":
        shared.putPages(index, place.reserve(shared.pagesWanted));
    }
    control.finishStep(index, step);
  }
}

/** Runs the steps of the GPU's place; attends to the device's events between them. */
export async function runGpuSteps(
  place: GpuPlace,
  index: number,
  shared: Shared,
  onTrace: OnTrace,
): Promise<void> {
  const { control, exchanged, options: { model, plan } } = shared;
  const schedule = scheduleOf(model, plan);
  const forward = async (place: GpuSidePlace) => {
    const own = new Participant("gpu", place, index, exchanged);
    for (const point of own.forward(schedule)) {
      await own.put(point);
      control.barrier("gpu", barrierAt(point));
      await own.take(point);
    }
  };
  for (let step = 0;;) {
    step = await control.nextStepLater(step);
    const { task } = control;
    if (task === "forward") await forward(place);
    else if (task === "trace") {
      const recorder = control.recorder = new Recorder();
      const lanes = await traceGpu(place, recorder, forward);
      control.recorder = undefined;
      onTrace(lanes);
    } else if (task === "reserve") {
      shared.putPages(index, place.reserve(shared.pagesWanted));
    }
    shared.putGpuCounts(place.stats.counts);
    control.finishStep(index, step);
  }
}
