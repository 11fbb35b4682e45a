/**
 * A CPU place in a worker: loads its share by messages, then runs steps over
 * shared memory until the team stops. Bundled into `worker.bundle.js`, which
 * is started as text so that no permission is needed.
 *
 * @module
 */
import { forward } from "../place.ts";
import { allSlices, type Slice } from "../slices.ts";
import { CpuPlace } from "./cpu_place.ts";
import type { CpuTeamOptions, FromWorker, ToWorker } from "./messages.ts";
import { Shared } from "./shared.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
  close(): void;
}

const scope = self as unknown as WorkerScope;
let place: CpuPlace;
let slices: Slice[];
let run: () => void;

scope.onmessage = ({ data }) => {
  try {
    answer(data);
  } catch (error) {
    const { name, message } = error as Error;
    scope.postMessage({ kind: "error", name, message });
  }
};

function answer(message: ToWorker): void {
  switch (message.kind) {
    case "start": {
      const { index, options } = message;
      const shared = new Shared(options, message.shared);
      place = new CpuPlace(
        message.module,
        { ...options, plan: options.plan.places[index] },
        {
          layers: shared.counts[index],
          neurons: shared.neuronCounts,
          normed: index === 0 ? shared.normedStates : undefined,
        },
      );
      slices = [...allSlices(place.slices)];
      run = () => runSteps(shared, index, options);
      scope.postMessage({ kind: "ready", weightBytes: place.weightBytes });
      break;
    }
    case "rows": {
      place.write(slices[message.slice], message.rows);
      const spare = message.rows.bytes.buffer;
      scope.postMessage({ kind: "written", spare }, [spare]);
      break;
    }
    case "run":
      place.ready();
      scope.postMessage({ kind: "running", rates: place.rates });
      run();
  }
}

/** Returns when the team is stopped; tells the others if this place fails. */
function runSteps(
  shared: Shared,
  index: number,
  { model, sparsity }: CpuTeamOptions,
): void {
  const share = sparsity.mode === "top-k" ? sparsity.share : 1;
  let step = 0;
  try {
    for (;;) {
      step = shared.nextStep(step);
      if (shared.task === "measure") {
        shared.putRates(index, place.measureRates());
      } else {
        for (const kind of forward(model, place, shared.batch, sparsity)) {
          shared.exchange(kind, place, index, share);
        }
      }
      if (index === 0) shared.finishStep(step);
    }
  } catch (error) {
    if (shared.failed) return scope.close();
    shared.fail();
    throw error;
  }
}
