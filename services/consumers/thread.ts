import { Worker } from 'node:worker_threads';
import type { ServiceParts } from '#lib/server/run-service.ts';
import type { LivePublisher } from './live-publisher.ts';
import { errorFields, type Reports } from './reports.ts';
import type { FromThread, ThreadData, ToThread } from './thread-messages.ts';

export interface ConsumersThreadOptions extends ThreadData {
  /** Where accepted events go, in this thread. Closed with it. */
  readonly live: LivePublisher;
  readonly reports: Reports;
  /** How it is started; tests start others. */
  readonly workerUrl?: URL | undefined;
}

const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 10_000;
/** One that has run for so long has not failed at once: the next pause is a short one again. */
const STABLE_MS = 60_000;
/** A batch and the closing of two databases. What takes longer is cut, and comes again at the next start. */
const STOP_DEADLINE_MS = 5_000;

/**
 * Runs the consumers in a thread of its own, in a process that does more than that: saving in SQLite never holds up what
 * answers requests. A thread that dies is started again; nothing is lost or counted twice by it.
 */
export function startConsumersThread(options: ConsumersThreadOptions): ServiceParts {
  const thread = new ConsumersThread(options);
  return {
    services: [],
    rpc() {},
    http: [],
    async drain(spreadMs) {
      await thread.stop(Math.min(Math.max(spreadMs, 1_000), STOP_DEADLINE_MS));
      await options.live.close(Math.min(spreadMs, 1_000));
    },
  };
}

class ConsumersThread {
  readonly #options: ConsumersThreadOptions;
  #worker: Worker | undefined;
  #ended: Promise<void> = Promise.resolve();
  #pauseMs = FIRST_PAUSE_MS;
  #restart: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(options: ConsumersThreadOptions) {
    this.#options = options;
    this.#start();
  }

  async stop(deadlineMs: number): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restart);
    this.#send({ kind: 'stop' });
    const cut = setTimeout(() => void this.#worker?.terminate(), deadlineMs);
    await this.#ended;
    clearTimeout(cut);
  }

  #start(): void {
    const { store, log, workerUrl = new URL('./thread-worker.ts', import.meta.url) } = this.#options;
    const workerData: ThreadData = { store, log };
    const startedMs = performance.now();
    const worker = new Worker(workerUrl, { name: 'consumers', workerData });
    this.#worker = worker;
    let failure: unknown;
    worker.on('message', (message: FromThread) => this.#hear(message));
    worker.on('error', (error) => {
      failure = error;
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ended = promise;
    worker.on('exit', (code) => {
      this.#worker = undefined;
      if (!this.#stopping) this.#startAgain(failure ?? `exit code ${code}`, performance.now() - startedMs);
      resolve();
    });
  }

  #startAgain(failure: unknown, ranMs: number): void {
    if (ranMs > STABLE_MS) this.#pauseMs = FIRST_PAUSE_MS;
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS);
    this.#options.reports({
      level: 'error',
      message: "the consumers' thread died, and is started again",
      fields: { inMs: pauseMs, ...errorFields(failure) },
    });
    this.#restart = setTimeout(() => this.#start(), pauseMs);
  }

  #hear(message: FromThread): void {
    switch (message.kind) {
      case 'live':
        this.#options.live.publish(message.summaries);
        this.#send({ kind: 'taken', summaries: message.summaries.length });
        break;
      case 'report':
        this.#options.reports(message.report);
        break;
    }
  }

  #send(message: ToThread): void {
    this.#worker?.postMessage(message);
  }
}
