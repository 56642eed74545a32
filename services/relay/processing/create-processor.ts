import { availableParallelism } from 'node:os';
import { Piscina } from 'piscina';
import type { Processed, ProcessInput, Processor } from '../processing.ts';
import { encodeBatch } from './batch-message.ts';
import { refuseAll } from './judge.ts';
import { decodeVerdicts, type VerdictsMessage } from './verdicts-message.ts';
import { resolve, workOf } from './work.ts';

export interface ProcessorOptions {
  /** By default one less than there are cores: the main thread takes and logs. */
  readonly threads?: number;
  /** What a thread died of, and faults of ours: nothing of the envelopes is in it. */
  readonly onError: (error: Error) => void;
  /** A batch that takes longer ends its thread. */
  readonly batchTimeoutMs?: number;
  /** Of each thread's heap: one that needs more ends. */
  readonly threadMemoryMb?: number;
  /** The threads' code, for tests of what becomes of bad ones. */
  readonly workerUrl?: URL;
}

const DEFAULT_BATCH_TIMEOUT_MS = 10_000;
/** What is JSON of 1 MiB takes 100 times that at worst. */
const DEFAULT_THREAD_MEMORY_MB = 512;

/** A {@link Processor} on a pool of threads. What waits for one is bounded by who calls. */
export function createProcessor(options: ProcessorOptions): Processor {
  return new ThreadedProcessor(options);
}

class ThreadedProcessor implements Processor {
  readonly #pool: Piscina;
  readonly #onError: (error: Error) => void;
  readonly #timeoutMs: number;
  readonly #running = new Set<Promise<unknown>>();
  #free: number;
  #waiting: (() => void)[] = [];
  #isClosed = false;

  constructor({ threads, onError, batchTimeoutMs, threadMemoryMb, workerUrl }: ProcessorOptions) {
    const count = threads ?? Math.max(1, availableParallelism() - 1);
    this.#free = count;
    this.#onError = onError;
    this.#timeoutMs = batchTimeoutMs ?? DEFAULT_BATCH_TIMEOUT_MS;
    this.#pool = new Piscina({
      filename: (workerUrl ?? new URL('./worker.ts', import.meta.url)).href,
      minThreads: count,
      maxThreads: count,
      resourceLimits: { maxOldGenerationSizeMb: threadMemoryMb ?? DEFAULT_THREAD_MEMORY_MB },
      // Not what this process was started with: an inspector's port or a loader isn't for every thread.
      execArgv: [],
      recordTiming: false,
    });
    this.#pool.on('error', onError);
  }

  async process(batch: readonly ProcessInput[]): Promise<readonly Processed[]> {
    if (this.#isClosed) throw new Error('the processor is closed');
    const run = this.#process(batch);
    this.#running.add(run);
    try {
      return await run;
    } finally {
      this.#running.delete(run);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#running);
    await this.#pool.destroy();
  }

  async #process(batch: readonly ProcessInput[]): Promise<readonly Processed[]> {
    try {
      return await this.#run(batch);
    } catch (error) {
      this.#onError(error instanceof Error ? error : new Error(String(error)));
    }
    // Somebody's envelope ended the thread, and the others' were on it: each by itself.
    if (batch.length > 1) return (await Promise.all(batch.map((input) => this.#process([input])))).flat();
    return batch.map((input) => resolve(input, refuseAll(workOf(input), 'internal')));
  }

  /** Its time runs while a thread works on it, not while it waits for one. */
  async #run(batch: readonly ProcessInput[]): Promise<readonly Processed[]> {
    if (this.#free === 0) await new Promise<void>((go) => this.#waiting.push(go));
    else this.#free--;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), this.#timeoutMs);
    try {
      const message = encodeBatch(batch);
      const answer = await this.#pool.run(message, { transferList: [message.bytes.buffer], signal: abort.signal });
      const verdicts = decodeVerdicts(answer as VerdictsMessage);
      return batch.map((input, index) => {
        const verdict = verdicts[index]!;
        for (const fault of verdict.faults) this.#onError(new Error(`processing an event failed: ${fault}`));
        return resolve(input, verdict);
      });
    } finally {
      clearTimeout(timer);
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
