import { Worker } from 'node:worker_threads';
import { LogUnavailableError, type NewRecord } from './log.ts';
import { pack } from './packed-records.ts';
import type { WriterAnswer, WriterData, WriterRequest } from './sqlite-writer-thread.ts';

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: LogUnavailableError) => void;
}

/** A thread and what it was asked, in the order of its answers. */
interface Thread {
  readonly worker: Worker;
  readonly waiting: Waiting[];
}

/**
 * The writer, on a thread of its own: what it waits for (the disk, another process that has the lock) holds up nobody. It
 * is started when it is needed, and again after it broke.
 */
export class SqliteWriter {
  readonly #data: WriterData;
  #thread: Thread | undefined;

  constructor(data: WriterData) {
    this.#data = data;
  }

  /** One transaction. @throws LogUnavailableError */
  append(records: readonly NewRecord[], timeoutMs: number): Promise<void> {
    const packed = pack(records);
    return this.#ask({ kind: 'append', packed, timeoutMs }, [packed.buffer]);
  }

  /** @throws LogUnavailableError */
  ping(timeoutMs: number): Promise<void> {
    return this.#ask({ kind: 'ping', timeoutMs });
  }

  async close(): Promise<void> {
    const thread = this.#thread;
    if (thread === undefined) return;
    this.#thread = undefined;
    // Not by `once` of node:events, which rejects where it ends with an error.
    const exited = new Promise((resolve) => thread.worker.once('exit', resolve));
    await ask(thread, { kind: 'close' }).catch(() => undefined);
    // Its answer has let go of it: where nothing else goes on, the process would end before it.
    thread.worker.ref();
    await exited;
  }

  #ask(request: WriterRequest, transfer: ArrayBuffer[] = []): Promise<void> {
    this.#thread ??= this.#start();
    return ask(this.#thread, request, transfer);
  }

  #start(): Thread {
    const worker = new Worker(new URL('./sqlite-writer-thread.ts', import.meta.url), {
      workerData: this.#data,
      name: 'log writer',
    });
    const thread: Thread = { worker, waiting: [] };
    worker.on('message', ({ failure }: WriterAnswer) => {
      const asked = thread.waiting.shift();
      if (thread.waiting.length === 0) worker.unref();
      if (failure === undefined) asked?.resolve();
      else asked?.reject(new LogUnavailableError(`SQLite: ${failure}`));
    });
    const fail = (cause: unknown) => {
      if (this.#thread === thread) this.#thread = undefined;
      for (const asked of thread.waiting.splice(0)) {
        asked.reject(new LogUnavailableError("the log's writer has ended", { cause }));
      }
    };
    worker.on('error', fail);
    worker.on('exit', fail);
    return thread;
  }
}

function ask({ worker, waiting }: Thread, request: WriterRequest, transfer: ArrayBuffer[] = []): Promise<void> {
  return new Promise((resolve, reject) => {
    waiting.push({ resolve, reject });
    worker.ref();
    worker.postMessage(request, transfer);
  });
}
