import { Cluster } from 'ioredis';
import type { RedisClient } from '#lib/broker/redis-client.ts';
import { RedisCommands } from '#lib/broker/redis-commands.ts';
import type { RedisConnection } from '#lib/broker/redis-connection.ts';
import { connectTo, type RedisPlace } from '#lib/broker/redis-place.ts';
import { Circuits } from './circuits.ts';
import { DEFAULT_MAX_RATE_LIMIT_MS } from './counter.ts';
import type { Limits, TakeRequest, TakeResult } from './limits.ts';
import { withinOwnTime } from './own-time.ts';
import { quotasOf, refusedLimits } from './quotas.ts';
import { defineLimitsScript } from './redis-limits-script.ts';
import { RedisTake } from './redis-take.ts';

export interface RedisLimitsOptions extends RedisPlace {
  readonly maxRateLimitMs?: number;
  readonly now?: () => number;
  readonly deadlineMs?: number;
  /** Hears why something was not counted: once when that begins. */
  readonly onError?: (error: unknown) => void;
}

/**
 * Who waits has been answered already, so it is not for them that this is short. It is met once: after that nobody waits
 * until Redis answers again.
 */
const DEADLINE_MS = 1_000;
/** Of a process that has just begun, and maybe not alone: it has to connect first. */
const OPENING_DEADLINE_MS = 3_000;
/** However little CPU this process gets. */
const MAX_WAIT_MS = 15_000;
const PROBE_INTERVAL_MS = 250;
const CONNECTION_TIMEOUT_MS = 2_000;
const MAX_IN_FLIGHT = 1_000;
/** A script stands in everybody's way while it runs. */
const MAX_REQUESTS_PER_CALL = 250;
const TAKEN: TakeResult = { isTaken: true };
const ONLY_SERVER = '';

/**
 * For all processes together, on one Redis, Sentinel or a Cluster.
 * @throws InvalidRedisUrlError
 */
export function createRedisLimits(options: RedisLimitsOptions): Limits {
  return new RedisLimits(options);
}

class RedisLimits implements Limits {
  readonly kind = 'redis';
  readonly #now: () => number;
  readonly #maxRateLimitMs: number;
  readonly #onError: (error: unknown) => void;
  readonly #connection: RedisConnection;
  readonly #commands: RedisCommands;
  readonly #deadlineMs: number;
  readonly #circuits: Circuits;

  constructor(options: RedisLimitsOptions) {
    this.#now = options.now ?? Date.now;
    this.#maxRateLimitMs = options.maxRateLimitMs ?? DEFAULT_MAX_RATE_LIMIT_MS;
    this.#onError = options.onError ?? (() => undefined);
    this.#connection = connectTo(options, CONNECTION_TIMEOUT_MS);
    this.#connection.whenOpen(defineLimitsScript);
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
    this.#commands = new RedisCommands(this.#connection, { timeoutMs: MAX_WAIT_MS, maxInFlight: MAX_IN_FLIGHT });
    this.#circuits = new Circuits({
      probe: (name) => this.#run((client) => client.get(`quota:probe{${name}}`)),
      probeIntervalMs: PROBE_INTERVAL_MS,
    });
  }

  async take(requests: readonly TakeRequest[]): Promise<readonly TakeResult[]> {
    const nowMs = this.#now();
    const results: TakeResult[] = new Array(requests.length).fill(TAKEN);
    const calls = this.#callsOf(requests, results, nowMs);
    if (calls.length > 0) await Promise.all(calls.map(([circuit, call]) => this.#count(circuit, call, results)));
    return results;
  }

  state(): 'counting' | 'open' {
    return this.#circuits.anyOpen ? 'open' : 'counting';
  }

  async close(): Promise<void> {
    this.#circuits.close();
    this.#commands.close();
    this.#connection.close();
  }

  /** What Redis must be asked; what needs no asking is in `results`. */
  #callsOf(requests: readonly TakeRequest[], results: TakeResult[], nowMs: number): [circuit: string, RedisTake][] {
    const calls: [string, RedisTake][] = [];
    const current = new Map<bigint, RedisTake>();
    for (const [at, request] of requests.entries()) {
      const { refusing, counting } = quotasOf(request, request.quotas).about(request.category);
      if (refusing.length > 0) results[at] = { isTaken: false, limits: refusedLimits(refusing, nowMs) };
      if (refusing.length > 0 || counting.length === 0) continue;
      const { organizationId } = request;
      let call = current.get(organizationId);
      if (call === undefined || call.requests >= MAX_REQUESTS_PER_CALL) {
        call = new RedisTake(nowMs);
        current.set(organizationId, call);
        calls.push([this.#circuitOf(organizationId), call]);
      }
      call.add({ request, quotas: counting, at });
    }
    return calls;
  }

  async #count(circuit: string, call: RedisTake, results: TakeResult[]): Promise<void> {
    if (this.#circuits.isOpen(circuit)) return;
    try {
      call.read(await this.#run((client) => call.send(client)), results, this.#maxRateLimitMs);
    } catch (error) {
      if (this.state() === 'counting') this.#onError(error);
      this.#circuits.open(circuit);
    }
  }

  #run<T>(send: (client: RedisClient) => Promise<T>): Promise<T> {
    const isOpening = this.#connection.client === undefined;
    const deadlineMs = isOpening ? Math.max(this.#deadlineMs, OPENING_DEADLINE_MS) : this.#deadlineMs;
    return withinOwnTime(this.#commands.run(send), deadlineMs);
  }

  /** In a Cluster the node of one organization may be away while those of others answer. */
  #circuitOf(organizationId: bigint): string {
    return this.#connection.client instanceof Cluster ? `${organizationId}` : ONLY_SERVER;
  }
}
