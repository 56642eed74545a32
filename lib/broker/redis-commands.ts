import { Cluster } from 'ioredis';
import { BrokerUnavailableError } from './broker.ts';
import type { RedisClient, Settle } from './redis-client.ts';
import type { RedisConnection } from './redis-connection.ts';

export interface CommandLimits {
  readonly timeoutMs: number;
  readonly maxInFlight: number;
}

// What a batch of commands fails with when slots move under it: redirections, which the client follows for single commands
// alone, and its own refusal where the batch was made before and sent after.
const SLOTS_MOVED = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN) |^All keys in the pipeline should belong to the same slots/;

/**
 * Sends commands to Redis with a deadline and a bound. A request counts against the bound until the client lets go of
 * it, not until its deadline: what waits behind a paused server stays in memory after its caller has gone.
 */
export class RedisCommands {
  readonly #connection: RedisConnection;
  readonly #limits: CommandLimits;
  #inFlight = 0;
  #closed = false;

  constructor(connection: RedisConnection, limits: CommandLimits) {
    this.#connection = connection;
    this.#limits = limits;
  }

  /**
   * Runs `send`, which may send several commands at once and counts as one. It must be repeatable.
   * @throws BrokerUnavailableError, for whatever went wrong
   */
  run<T>(send: (client: RedisClient) => Promise<T>, timeoutMs = this.#limits.timeoutMs): Promise<T> {
    return this.start<T>((client, settle) => {
      sendTo(client, send).then((reply) => settle(undefined, reply), settle);
    }, timeoutMs);
  }

  /**
   * The same of one command that tells its end to a function.
   * @throws BrokerUnavailableError, for whatever went wrong
   */
  start<T>(send: (client: RedisClient, settle: Settle<T>) => void, timeoutMs = this.#limits.timeoutMs): Promise<T> {
    if (this.#closed) return Promise.reject(new BrokerUnavailableError('the broker is closed'));
    if (this.#inFlight >= this.#limits.maxInFlight) {
      return Promise.reject(new BrokerUnavailableError('too many requests are waiting for Redis'));
    }
    const { client, problem } = this.#connection;
    if (!client && problem) return Promise.reject(unavailable(problem));
    this.#inFlight += 1;
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new BrokerUnavailableError(`Redis did not answer within ${timeoutMs} ms`));
      }, timeoutMs);
      const settle: Settle<T> = (error, reply) => {
        this.#inFlight -= 1;
        clearTimeout(timer);
        if (error === undefined) resolve(reply as T);
        else reject(unavailable(error));
      };
      if (client) attempt(client, send, settle);
      else this.#connection.open(timeoutMs).then((opened) => attempt(opened, send, settle), settle);
    });
  }

  close(): void {
    this.#closed = true;
  }
}

function attempt<T>(client: RedisClient, send: (client: RedisClient, settle: Settle<T>) => void, settle: Settle<T>) {
  try {
    send(client, settle);
  } catch (error) {
    settle(error);
  }
}

async function sendTo<T>(client: RedisClient, send: (client: RedisClient) => Promise<T>): Promise<T> {
  try {
    return await send(client);
  } catch (error) {
    if (!(client instanceof Cluster) || !(error instanceof Error) || !SLOTS_MOVED.test(error.message)) throw error;
    return await unbatched(client, () => send(client));
  }
}

// A command outside of a batch follows the redirection, and makes the client learn the slots anew.
function unbatched<T>(client: Cluster, send: () => T): T {
  client.options.enableAutoPipelining = false;
  try {
    return send();
  } finally {
    client.options.enableAutoPipelining = true;
  }
}

/** Waits for all, and rejects if one did. */
export async function allSettled(promises: readonly Promise<void>[]): Promise<void> {
  const outcomes = await Promise.allSettled(promises);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

/** Converts what went wrong, once, for callers who can only try again. */
export function unavailable(error: unknown): BrokerUnavailableError {
  if (error instanceof BrokerUnavailableError) return error;
  return new BrokerUnavailableError('Redis is not available', { cause: redact(error) });
}

// The client hangs each command's arguments on its errors: payloads, and passwords. Only the words are kept.
function redact(error: unknown): Error {
  const original = error instanceof Error ? error : new Error('unknown');
  const cause = new Error(original.message.slice(0, 200));
  cause.name = original.name;
  return cause;
}
