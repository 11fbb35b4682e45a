/**
 * Places in workers of their own: starts them, streams their weights to
 * them, and hands them steps over shared memory.
 *
 * @module
 */
import type { ByteSource } from "../../bytes/byte_source.ts";
import {
  type CulmError,
  GpuError,
  GpuMemoryError,
  LimitError,
  PlaceError,
} from "../../errors.ts";
import type { Rates } from "../../plan/rates.ts";
import { allPlaces, type PlacePlan, type Plan } from "../../plan/plan.ts";
import type { Sparsity } from "../../plan/sparsity.ts";
import type { Batch, BatchLimits } from "../batch.ts";
import type { LoadProgress } from "../load_progress.ts";
import type { NeuronCounts } from "../neuron_counts.ts";
import type { FfnInputs } from "../ffn_inputs.ts";
import { allShards, readRows, type Rows } from "../../model/shard.ts";
import { shardsOf } from "../../plan/shards.ts";
import type { LayerCounts } from "../stats.ts";
import type { MeasuredGpu } from "../gpu_use.ts";
import type { Team } from "../team.ts";
import type { Lane, OnTrace } from "../trace.ts";
import type { Task } from "./control.ts";
import { guardExit } from "../../platform/exit_guard.ts";
import type { FromWorker, TeamOptions, ToWorker } from "./messages.ts";
import { Shared } from "./shared.ts";
import workerText from "./worker.bundle.js" with { type: "text" };

/** Chunks that a worker has been given and has not repacked, while the next is read. */
const chunksAhead = 2;

/** A worker with a place in it, and the answers that are still to come from it. */
class PlaceWorker {
  readonly #worker: Worker;
  readonly #answers: {
    resolve: (answer: FromWorker) => void;
    reject: (error: Error) => void;
  }[] = [];
  #failure?: Error;

  /** `onFailure` is called once, when the worker dies or says that it cannot go on. */
  constructor(
    readonly index: number,
    /** For people: `CPU worker 1`, `GPU` */
    readonly name: string,
    readonly plan: PlacePlan,
    url: string,
    readonly onFailure: (error: Error) => void,
  ) {
    try {
      this.#worker = new Worker(url, { type: "module", name: `culm ${name}` });
    } catch (error) {
      throw new PlaceError((error as Error).message);
    }
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if (data.kind === "error") this.#fail(data.name, data.message);
      else this.#answers.shift()?.resolve(data);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail("PlaceError", event.message);
    };
  }

  /** Posts a message and waits for its answer. */
  ask(message: ToWorker, transfer: Transferable[] = []): Promise<FromWorker> {
    const answer = this.answer();
    if (!this.#failure) this.#worker.postMessage(message, transfer);
    return answer;
  }

  /** Waits for the next message that is no answer to one before. */
  answer(): Promise<FromWorker> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) =>
      this.#answers.push({ resolve, reject })
    );
  }

  /** Stops the worker; what was asked and is not answered fails with `reason`. */
  terminate(reason: Error): void {
    this.#worker.terminate();
    if (this.name === "GPU") guardExit();
    this.#reject(reason);
  }

  #fail(name: string, message: string): void {
    this.onFailure(this.#reject(this.#errorOf(name, message)));
  }

  #errorOf(name: string, message: string): CulmError {
    if (name === "GpuError") return new GpuError(message);
    if (name === "GpuMemoryError") return new GpuMemoryError(message);
    if (this.name === "GPU") return new GpuError(`GPU failed: ${message}`);
    return name === "LimitError"
      ? new LimitError(message)
      : new PlaceError(`${this.name} failed: ${message}`);
  }

  #reject(failure: Error): Error {
    this.#failure ??= failure;
    for (const { reject } of this.#answers.splice(0)) reject(this.#failure);
    return this.#failure;
  }
}

/** Places in workers, as many as the plan has. */
export class ThreadTeam implements Team {
  /** See {@linkcode Team.weightBytes}. */
  weightBytes = 0;
  /** See {@linkcode Team.gpu}. */
  gpu?: MeasuredGpu;
  /** See {@linkcode Team.rates}. */
  rates: readonly Rates[] = [];
  readonly #shared: Shared;
  readonly #workers: PlaceWorker[] = [];
  #failure?: CulmError;
  #onFailure: () => void = () => {};

  private constructor(
    readonly description: string,
    readonly options: TeamOptions,
  ) {
    const buffer = new SharedArrayBuffer(Shared.byteLength(options));
    this.#shared = new Shared(options, buffer);
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
    const team = new ThreadTeam(description, options);
    try {
      await team.#startWorkers(module);
      await progress.untilAborted(Promise.all(
        team.#workers.map((worker) => team.#load(worker, source, progress)),
      ));
      // All at once, so that the rates are measured with all of them reading.
      const running = await Promise.all(
        team.#workers.map((worker) => worker.ask({ kind: "run" })),
      );
      for (const answer of running) {
        if (answer.kind !== "running") continue;
        if (answer.rates) team.rates = [...team.rates, answer.rates];
        team.gpu ??= answer.gpu;
      }
      return team;
    } catch (error) {
      await team[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** See {@linkcode Team.sparsity}. */
  get sparsity(): Sparsity {
    return this.options.sparsity;
  }

  /** See {@linkcode Team.plan}. */
  get plan(): Plan {
    return this.options.plan;
  }

  /** See {@linkcode Team.limits}. */
  get limits(): BatchLimits {
    return this.options.limits;
  }

  /** See {@linkcode Team.batch}. */
  get batch(): Batch {
    return this.#shared.batch;
  }

  /** See {@linkcode Team.counts}. */
  get counts(): readonly LayerCounts[] {
    return this.#shared.counts;
  }

  /** See {@linkcode Team.neuronCounts}. */
  get neuronCounts(): NeuronCounts | undefined {
    return this.#shared.neuronCounts;
  }

  /** See {@linkcode Team.ffnInputs}. */
  get ffnInputs(): FfnInputs | undefined {
    return this.#shared.ffnInputs;
  }

  /** See {@linkcode Team.run}. */
  async run(onTrace?: OnTrace): Promise<Float32Array[]> {
    if (onTrace) onTrace(await this.#trace());
    else await this.#step("forward");
    if (this.gpu) this.gpu.counts = this.#shared.gpuCounts();
    return this.#shared.logitRows();
  }

  /** See {@linkcode Team.measureRates}. */
  async measureRates(): Promise<readonly Rates[]> {
    await this.#step("measure");
    return this.rates = this.rates.map((rates, i) =>
      this.#shared.ratesOf(i, rates)
    );
  }

  /** Stops the workers. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#failure ??= new PlaceError("Cannot run a step: the model is closed");
    this.#shared.control.fail();
    for (const worker of this.#workers) worker.terminate(this.#failure);
    return Promise.resolve();
  }

  async #trace(): Promise<Lane[]> {
    const [answers] = await Promise.all([
      Promise.all(this.#workers.map((worker) => worker.answer())),
      this.#step("trace"),
    ]);
    return answers.flatMap((answer) =>
      answer.kind === "traced" ? answer.lanes : []
    );
  }

  async #step(task: Task): Promise<void> {
    if (this.#failure) throw this.#failure;
    const failed = new Promise<void>((resolve) => this.#onFailure = resolve);
    const { control } = this.#shared;
    const step = control.startStep(task);
    await Promise.race([control.stepDone(step), failed]);
    // A worker's own error arrives as an event, after the flag that it raised.
    if (control.failed) await failed;
    if (this.#failure) throw this.#failure;
  }

  async #startWorkers(module: WebAssembly.Module): Promise<void> {
    const { options } = this;
    const blob = new Blob([workerText], { type: "text/javascript" });
    const url = URL.createObjectURL(blob);
    try {
      for (const [index, plan] of allPlaces(options.plan).entries()) {
        const name = plan === options.plan.gpu ? "GPU" : `CPU worker ${index}`;
        this.#workers.push(
          new PlaceWorker(index, name, plan, url, (e) => this.#fail(e)),
        );
      }
      const shared = this.#shared.buffer;
      const answers = await Promise.all(
        this.#workers.map((worker, index) =>
          worker.ask({ kind: "start", index, module, shared, options })
        ),
      );
      for (const answer of answers) {
        if (answer.kind === "ready") this.weightBytes += answer.weightBytes;
      }
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  async #load(
    worker: PlaceWorker,
    source: ByteSource,
    progress: LoadProgress,
  ): Promise<void> {
    const shards = shardsOf(this.options.model, worker.plan);
    const spares: ArrayBuffer[] = [];
    const write = async (shard: number, rows: Rows) => {
      const bytes = rows.bytes.length;
      const answer = await worker.ask({ kind: "rows", shard, rows }, [
        rows.bytes.buffer,
      ]);
      spares.push((answer as Extract<FromWorker, { kind: "written" }>).spare);
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
