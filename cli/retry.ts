import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectError } from '@connectrpc/connect';
import type { Backoff } from './backoff.ts';
import { adviceFor, isUnreachable } from './failure.ts';

/** Told once when things stop working, and once when they work again. */
export interface OutageListener {
  onOutage(error: ConnectError): void;
  onRecovery(): void;
}

/**
 * Repeats a call that is safe to repeat until it succeeds, is refused, or the budget is spent; throws the last error.
 * Where nothing listens it fails at once: somebody is waiting, and it has never worked.
 */
export async function withRetries<T>(
  call: () => Promise<T>,
  backoff: Backoff,
  listener: OutageListener,
  signal?: AbortSignal,
): Promise<T> {
  for (;;) {
    try {
      const result = await call();
      if (backoff.failing) listener.onRecovery();
      backoff.succeeded();
      return result;
    } catch (thrown) {
      signal?.throwIfAborted();
      const error = ConnectError.from(thrown);
      if (isUnreachable(error) && !backoff.failing) throw error;
      await waitOrThrow(error, backoff, listener, signal);
    }
  }
}

/** Waits before the next attempt, or throws `error` if there should be none. */
export async function waitOrThrow(
  error: ConnectError,
  backoff: Backoff,
  listener: OutageListener,
  signal?: AbortSignal,
): Promise<void> {
  const advice = adviceFor(error);
  if (advice.kind === 'give_up') throw error;
  const firstOfOutage = !backoff.failing;
  const waitMs = backoff.next(advice.afterMs);
  if (waitMs === undefined) throw error;
  if (firstOfOutage) listener.onOutage(error);
  await sleep(waitMs, undefined, signal ? { signal } : {});
}
