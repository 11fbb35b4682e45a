/**
 * Places in workers of their own: starts them, streams their weights to
 * them, and hands them steps over shared memory.
 */
import type { ByteSource } from "../../bytes/byte_source.ts";
import { type CulmError, GpuError, PlaceError } from "../../errors.ts";
import { hotRowsOf, withHotRows } from "../../plan/hot_rows.ts";
import { type Rates, sumOfRates } from "../../plan/machine.ts";
import { allPlaces, type PlacePlan } from "../../plan/plan.ts";
import type { Batch } from "../batch.ts";
import type { LoadProgress } from "../load_progress.ts";
import type { NeuronCounts } from "../neuron_counts.ts";
import { zeros } from "../probe_model.ts";
import type { FfnInputs } from "../ffn_inputs.ts";
import { allShards, readRows, type Rows } from "../../model/shard.ts";
import { shardsOf } from "../../plan/shards.ts";
import type { ScoreCounts } from "../score_counts.ts";
import type { LayerCounts } from "../stats.ts";
import type { MeasuredGpu } from "../gpu_stats.ts";
import {
  readLayers,
  type Team,
  type TeamOptions,
  writeLayers,
} from "../team.ts";
import type { Lane, OnTrace } from "../trace.ts";
import type { Task } from "./control.ts";
import { guardExit } from "../../platform/exit_guard.ts";
import { Opened } from "../../platform/opened.ts";
import { RpcWorker, workerText } from "../../platform/rpc_worker.ts";
import type { PlaceService } from "./place_service.ts";
import { type ReaderService, readersOfPlace } from "./reader_service.ts";
import { Shared } from "./shared.ts";

/** Chunks that a worker has been given and has not repacked, while the next is read. */
const chunksAhead = 2;

export class PlaceWorker extends RpcWorker<PlaceService, readonly Lane[]> {
  readonly #ended?: () => void;

  constructor(
    text: string,
    readonly plan: PlacePlan,
    /** For people: `CPU worker 1`, `GPU` */
    readonly label: string,
    onTrace: OnTrace = () => {},
  ) {
    super(text, {
      role: "place",
      name: `culm ${label}`,
      foreign: (message) =>
        new (label === "GPU" ? GpuError : PlaceError)(
          `${label} failed: ${message}`,
        ),
      onEvent: onTrace,
    });
    if (label === "GPU") {
      const reason = new GpuError("The process ends");
      this.#ended = guardExit(() => this.terminate(reason));
    }
  }

  override terminate(reason: Error): void {
    super.terminate(reason);
    this.#ended?.();
  }
}

export class ThreadTeam implements Team {
  readonly batch: Batch;
  readonly counts: readonly LayerCounts[];
  readonly neuronCounts?: NeuronCounts;
  readonly ffnInputs?: FfnInputs;
  readonly scores?: ScoreCounts;
  weightBytes = 0;
  gpu?: MeasuredGpu;
  rates: readonly Rates[] = [];
  readonly #shared: Shared;
  readonly #workers: PlaceWorker[] = [];
  readonly #readers: RpcWorker<ReaderService>[] = [];
  #workerText = "";
  #failure?: CulmError;
  #onFailure: () => void = () => {};
  #onTrace: (index: number, lanes: readonly Lane[]) => void = () => {};

  private constructor(
    readonly description: string,
    readonly options: TeamOptions,
  ) {
    const buffer = new SharedArrayBuffer(Shared.byteLength(options));
    const shared = this.#shared = new Shared(options, buffer);
    this.batch = shared.batch;
    this.counts = shared.counts;
    this.neuronCounts = shared.neuronCounts;
    this.ffnInputs = shared.ffnInputs;
    this.scores = shared.scores;
  }

  /**
   * Starts the workers and loads the weights.
   *
   * @throws {PlaceError} where a worker cannot be started
   * @throws {LimitError} where a share does not fit one WASM memory
   * @throws {GpuError} where the GPU cannot take its share
   */
  static async start(
    description: string,
    module: WebAssembly.Module,
    options: TeamOptions,
    source: ByteSource,
    progress: LoadProgress,
  ): Promise<ThreadTeam> {
    await using started = new Opened();
    const team = started.use(new ThreadTeam(description, options));
    await team.#startWorkers(module);
    await progress.untilAborted(Promise.all(
      team.#workers.map((worker) => team.#load(worker, source, progress)),
    ));
    // All at once, so that the rates are measured with all of them reading.
    const ready = await Promise.all(
      team.#workers.map((worker) => worker.call("ready", [])),
    );
    team.rates = ready.flatMap(({ rates }) => rates ?? []);
    team.gpu = ready.at(-1)?.gpu;
    await team.#planHotRows();
    team.#startReaders();
    for (const worker of team.#workers) {
      worker.call("runSteps", []).catch((error) => team.#fail(error));
      worker.release(); // That goes on as long as the worker does.
    }
    started.move();
    return team;
  }

  async reserve(pages: number): Promise<number> {
    this.#shared.pagesWanted = pages;
    await this.#step("reserve");
    return this.#shared.pagesHeld;
  }

  readPage(page: number, positions: number): Promise<Uint8Array<ArrayBuffer>> {
    return readLayers(this.options, positions, async (layer) => {
      this.#shared.moved = [layer, page];
      await this.#step("readPage");
    }, this.#shared.rows);
  }

  writePage(page: number, rows: Uint8Array): Promise<void> {
    return writeLayers(this.options, rows, async (layer) => {
      this.#shared.moved = [layer, page];
      await this.#step("writePage");
    }, this.#shared.rows);
  }

  async run(onTrace?: OnTrace): Promise<Float32Array[]> {
    this.#shared.exchanged.begin();
    if (onTrace) onTrace(await this.#trace());
    else await this.#step("forward");
    if (this.gpu) this.gpu.counts = this.#shared.gpuCounts();
    return this.#shared.exchanged.resultRows();
  }

  takeLostMs(): number {
    return this.#shared.control.takeSleptMs();
  }

  async measureRates(): Promise<readonly Rates[]> {
    await this.#step("measure");
    return this.rates = this.rates.map((rates, i) =>
      this.#shared.ratesOf(i, rates)
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#failure ??= new PlaceError("Cannot run a step: the model is closed");
    this.#shared.control.fail();
    for (const queue of this.#shared.readQueues) queue.close();
    for (const worker of [...this.#workers, ...this.#readers]) {
      worker.terminate(this.#failure);
    }
    return Promise.resolve();
  }

  async #trace(): Promise<Lane[]> {
    const traces = this.#workers.map(() =>
      Promise.withResolvers<readonly Lane[]>()
    );
    this.#onTrace = (index, lanes) => traces[index].resolve(lanes);
    const [worker] = this.#workers;
    worker.hold(); // The traces come behind the step.
    try {
      await this.#step("trace");
      const lanes = await Promise.all(traces.map(({ promise }) => promise));
      return lanes.flat();
    } finally {
      worker.release();
    }
  }

  async #step(task: Task): Promise<void> {
    if (this.#failure) throw this.#failure;
    const failed = new Promise<void>((resolve) => this.#onFailure = resolve);
    const { control } = this.#shared;
    const [worker] = this.#workers;
    worker.hold();
    const step = control.startStep(task);
    await Promise.race([control.stepDone(step), failed]);
    // A worker's own error arrives as an event, after the flag that it raised.
    if (control.failed) await failed;
    worker.release();
    if (this.#failure) throw this.#failure;
  }

  /** The rest of the plan: what the rates decide that the places have measured. */
  async #planHotRows(): Promise<void> {
    const { model, plan } = this.options;
    const rates = sumOfRates(this.rates);
    const { places } = withHotRows(model, plan, rates, this.options);
    await Promise.all(
      places.map((place, i) =>
        this.#workers[i].call("setHotRows", [hotRowsOf(place)])
      ),
    );
  }

  async #startWorkers(module: WebAssembly.Module): Promise<void> {
    const { options } = this;
    const text = this.#workerText = await workerText();
    for (const [index, plan] of allPlaces(options.plan).entries()) {
      const label = plan === options.plan.gpu ? "GPU" : `CPU worker ${index}`;
      const onTrace: OnTrace = (lanes) => this.#onTrace(index, lanes);
      this.#workers.push(new PlaceWorker(text, plan, label, onTrace));
    }
    const { buffer } = this.#shared;
    const bytes = await Promise.all(
      this.#workers.map((worker, index) =>
        worker.call("start", [index, module, buffer, options])
      ),
    );
    this.weightBytes = bytes.reduce((sum, each) => sum + each, 0);
  }

  /** Those that read ahead: where there are fewer, places wait for what they read themselves. */
  #startReaders(): void {
    const { options } = this, { readQueues, buffer } = this.#shared;
    const each = readersOfPlace(readQueues.length);
    try {
      for (let i = 0; i < each * readQueues.length; i++) {
        const index = i % readQueues.length;
        const reader = new RpcWorker<ReaderService>(this.#workerText, {
          role: "reader",
          name: `culm reader of CPU worker ${index}`,
          foreign: (message) => new PlaceError(message),
        });
        this.#readers.push(reader);
        reader.call("run", [index, buffer, options]).catch(() => {});
        reader.release(); // That goes on as long as the team does.
      }
    } catch {
      // The system has no room for as many threads.
    }
  }

  async #load(
    worker: PlaceWorker,
    source: ByteSource,
    progress: LoadProgress,
  ): Promise<void> {
    if (source === zeros) return await worker.call("writeZeros", []);
    const shards = shardsOf(this.options.model, worker.plan);
    const spares: ArrayBuffer[] = [];
    const write = async (shard: number, rows: Rows) => {
      const bytes = rows.bytes.length;
      const { buffer } = rows.bytes;
      spares.push(await worker.call("write", [shard, rows], [buffer]));
      progress.add(bytes);
    };
    const ahead: Promise<void>[] = [];
    for (const [index, shard] of [...allShards(shards)].entries()) {
      for await (const rows of readRows(source, shard, spares)) {
        if (this.#failure) throw this.#failure;
        if (ahead.length === chunksAhead) await ahead.shift();
        const written = write(index, rows);
        written.catch(() => {}); // the await above, or below, reports it
        ahead.push(written);
      }
    }
    await Promise.all(ahead);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#shared.control.fail();
    this.#onFailure();
  }
}
