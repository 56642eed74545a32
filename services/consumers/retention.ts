import { setTimeout as delay } from 'node:timers/promises';
import type { EventStore } from '#lib/event-store/event-store.ts';
import { errorFields, type Reports } from './reports.ts';

export interface RetentionOptions {
  readonly store: Pick<EventStore, 'deleteExpired'>;
  readonly reports: Reports;
  readonly now: () => number;
  readonly pauses?: Partial<typeof PAUSES_MS> | undefined;
}

const PAUSES_MS = {
  /** While there is more: a step deletes some hundred rows, and writers get their turn between. */
  more: 50,
  failed: 60_000,
  done: 10 * 60_000,
};

export interface Retention {
  /** Resolves when what was under way has ended. Idempotent. */
  stop(): Promise<void>;
}

/** Deletes what has expired, again and again. Any number of processes may. */
export function startRetention(options: RetentionOptions): Retention {
  const { store, reports, now } = options;
  const pauses = { ...PAUSES_MS, ...options.pauses };
  const stopping = new AbortController();

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      let pauseMs = pauses.failed;
      try {
        pauseMs = (await store.deleteExpired(now())) ? pauses.more : pauses.done;
      } catch (error) {
        reports({ level: 'warn', message: 'what has expired could not be deleted', fields: errorFields(error) });
      }
      await delay(pauseMs, undefined, { signal: stopping.signal, ref: false }).catch(() => undefined);
    }
  }

  const running = run();
  return {
    stop: () => {
      stopping.abort();
      return running;
    },
  };
}
