import type { RedisClient } from '#lib/broker/redis-client.ts';
import { type Counter, counterOf, expiresInSec, refusedUntilMs } from './counter.ts';
import type { TakeRequest, TakeResult } from './limits.ts';
import { activeLimit, type Quota } from './quotas.ts';

interface Asked {
  readonly request: TakeRequest;
  readonly quotas: readonly Quota[];
  /** Where its answer goes. */
  readonly at: number;
}

/** One call of the script: requests of one organization. What they share is read and written once. */
export class RedisTake {
  readonly #nowMs: number;
  readonly #asked: Asked[] = [];
  readonly #counters: Counter[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  get requests(): number {
    return this.#asked.length;
  }

  add(asked: Asked): void {
    this.#asked.push(asked);
  }

  send(client: RedisClient): Promise<number[][]> {
    const asked: number[] = [];
    for (const { request, quotas } of this.#asked) {
      asked.push(request.quantity, request.overAcceptOnce ? 1 : 0, quotas.length);
      for (const quota of quotas) asked.push(this.#numberOf(counterOf(quota, this.#nowMs)), quota.limit ?? -1);
    }
    const keys = this.#counters.flatMap(({ key, refundKey }) => [key, refundKey]);
    const expiries = this.#counters.map((counter) => expiresInSec(counter, this.#nowMs));
    return client.tidewayTake(keys.length, ...keys, expiries.length, ...expiries, ...asked);
  }

  /** Puts each result where it belongs. @throws Error where Redis answered something else */
  read(answers: readonly (readonly number[])[], results: TakeResult[], maxRateLimitMs: number): void {
    if (answers.length !== this.#asked.length) throw new Error('Redis answered something else');
    for (const [n, { quotas, at }] of this.#asked.entries()) {
      const refused = answers[n]?.flatMap((number) => quotas[number - 1] ?? []) ?? [];
      if (refused.length === 0) continue;
      const limits = refused.map((quota) =>
        activeLimit(quota, refusedUntilMs(counterOf(quota, this.#nowMs), this.#nowMs, maxRateLimitMs)),
      );
      results[at] = { isTaken: false, limits };
    }
  }

  /** From 1, as Lua counts. */
  #numberOf(counter: Counter): number {
    const found = this.#numbers.get(counter.key);
    if (found !== undefined) return found;
    this.#counters.push(counter);
    this.#numbers.set(counter.key, this.#counters.length);
    return this.#counters.length;
  }
}
