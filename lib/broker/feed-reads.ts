import type { Broker } from './broker.ts';

// How a feed reads the log, for its live readers and for those that catch up.

/** Entries that are asked for at once. */
export const READ_BATCH = 128;
export const RETRY_FIRST_MS = 50;
export const RETRY_MAX_MS = 2_000;

export type Read = Awaited<ReturnType<Broker['read']>>;

/** Keeps no process alive. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
