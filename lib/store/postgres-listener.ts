import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { connectionOptions } from '#lib/sql/postgres-pool.ts';
import { NOTIFICATION_CHANNEL } from './mutation.ts';

const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 5_000;
const ANSWER_TIMEOUT_MS = 5_000;

/**
 * Listens, on a connection of its own, for notifications of mutations, until ended. It comes back after breaks, and then
 * counts as notified: nobody knows what it missed. Whoever relies on it looks now and then all the same.
 */
export function listenForMutations(url: string, onNotification: () => void): () => Promise<void> {
  const end = new AbortController();
  const done = keepListening(url, onNotification, end.signal);
  return () => {
    end.abort();
    return done;
  };
}

async function keepListening(url: string, onNotification: () => void, signal: AbortSignal): Promise<void> {
  let retryMs = FIRST_RETRY_MS;
  while (!signal.aborted) {
    if (await listenOnce(url, onNotification, signal)) retryMs = FIRST_RETRY_MS;
    else retryMs = Math.min(retryMs * 2, MAX_RETRY_MS);
    // Spread, as all processes lost it at once.
    await delay(retryMs * (0.5 + Math.random()), undefined, { ref: false, signal }).catch(() => undefined);
  }
}

/** Until the connection breaks or is ended. @returns Whether it stood. */
async function listenOnce(url: string, onNotification: () => void, signal: AbortSignal): Promise<boolean> {
  const client = new pg.Client({ ...connectionOptions(url), query_timeout: ANSWER_TIMEOUT_MS });
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  client.on('error', () => end());
  client.on('end', () => end());
  client.on('notification', onNotification);
  const { promise: aborted, resolve: abort } = Promise.withResolvers<void>();
  const onAbort = () => {
    end();
    abort();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const listening = client.connect().then(() => client.query(`listen ${NOTIFICATION_CHANNEL}`));
    // Who is ended waits for no answer.
    await Promise.race([listening, aborted]);
    if (signal.aborted) return false;
    onNotification();
    await ended;
    return true;
  } catch {
    return false;
  } finally {
    // Or the signal would keep each connection that there ever was.
    signal.removeEventListener('abort', onAbort);
    // Not awaited: a server that is away would not say goodbye.
    client.end().catch(() => undefined);
  }
}
