/** Workers that answer requests. */
import { type CulmError, PlaceError } from "../errors.ts";
import {
  type Answer,
  errorFrom,
  type Reply,
  type Request,
  type Role,
} from "./rpc_server.ts";
import { givenWorkerUrl } from "./worker_url.ts";
import { type StartedWorker, startWorker } from "./worker.ts";

/** What all workers run, which programs without workers never load. */
export async function workerText(): Promise<string> {
  return (await import("../worker/worker.bundle.js")).default;
}

/** What a worker is started as. */
export interface RpcOptions<Event = never> {
  readonly role: Role;
  /** For people: `culm quantiser` */
  readonly name: string;
  /** The error that stands for one of a worker's that is not culm's. */
  readonly foreign: (message: string) => CulmError;
  /** Given what the worker posts without being asked. */
  readonly onEvent?: (event: Event) => void;
}

/** The methods of a service, by name. */
type MethodName<Service> = {
  [K in keyof Service]: Service[K] extends (...args: never[]) => unknown ? K
    : never;
}[keyof Service];

type Arguments<Method> = Method extends (...args: infer Args) => unknown ? Args
  : never;
type Result<Method> = Method extends (...args: never[]) => infer Value
  ? Awaited<Value>
  : never;

/**
 * A worker, and the answers that are still to come from it. The process waits
 * for these, and not for a worker that is idle.
 */
export class RpcWorker<Service, Event = never> {
  readonly #worker: StartedWorker;
  readonly #answers = new Map<number, PromiseWithResolvers<unknown>>();
  #requests = 0;
  /** How many wait for it */
  #waiting = 0;
  #failure?: unknown;

  /**
   * Starts it with what {@linkcode workerText} gives.
   *
   * @throws {PlaceError} where that is not permitted
   */
  constructor(text: string, readonly options: RpcOptions<Event>) {
    const { name, foreign, onEvent } = options;
    try {
      this.#worker = startWorker({
        text,
        url: givenWorkerUrl(),
        name,
        onMessage: (data) => {
          const reply = data as Reply;
          if ("event" in reply) onEvent?.(reply.event as Event);
          else this.#take(reply);
        },
        onError: (message) => this.#fail(foreign(message)),
      });
    } catch (error) {
      throw new PlaceError((error as Error).message);
    }
    this.#worker.keepAlive(false);
  }

  /**
   * Requests a method of the service, and waits for its answer.
   *
   * @throws what the method throws: an error of culm's as it is, any other as
   *   `foreign` makes it; that too where the worker dies
   */
  call<Name extends MethodName<Service>>(
    method: Name,
    args: Arguments<Service[Name]>,
    transfer: Transferable[] = [],
  ): Promise<Result<Service[Name]>> {
    if (this.#failure) return Promise.reject(this.#failure);
    const answer = Promise.withResolvers<unknown>();
    const id = this.#requests++;
    this.#answers.set(id, answer);
    this.hold();
    const { role, foreign } = this.options;
    const request = { id, role, method, args } as Request;
    try {
      this.#worker.post(request, transfer);
    } catch (error) {
      this.#fail(foreign((error as Error).message));
    }
    return answer.promise as Promise<Result<Service[Name]>>;
  }

  /** Has the process wait for the worker, until it is released as often as held. */
  hold(): void {
    if (this.#waiting++ === 0) this.#worker.keepAlive(true);
  }

  /** One waits for it no more. */
  release(): void {
    if (--this.#waiting === 0) this.#worker.keepAlive(false);
  }

  /** Stops the worker; what was requested and is not answered fails with `reason`. */
  terminate(reason: unknown): void {
    this.#worker.terminate();
    this.#fail(reason);
  }

  #take(reply: Answer): void {
    const answer = this.#answers.get(reply.id);
    this.#answers.delete(reply.id);
    this.release();
    if ("error" in reply) {
      answer?.reject(errorFrom(reply.error, this.options.foreign));
    } else answer?.resolve(reply.value);
  }

  #fail(failure: unknown): void {
    this.#failure ??= failure;
    for (const { reject } of this.#answers.values()) reject(this.#failure);
    this.#answers.clear();
  }
}

/** Starts `count` workers, and has `prepare` make each of them ready: none where one cannot be had. */
export async function startWorkers<Service, Event = never>(
  count: number,
  options: RpcOptions<Event>,
  prepare: (worker: RpcWorker<Service, Event>) => Promise<unknown>,
): Promise<readonly RpcWorker<Service, Event>[]> {
  const workers: RpcWorker<Service, Event>[] = [];
  try {
    const text = await workerText();
    for (let i = 0; i < count; i++) workers.push(new RpcWorker(text, options));
    await Promise.all(workers.map(prepare));
    return workers;
  } catch (error) {
    for (const worker of workers) worker.terminate(error);
    return [];
  }
}
