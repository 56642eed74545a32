import type { RedisClient } from '#lib/broker/redis-client.ts';

export interface ConfigWrite {
  readonly key: string;
  readonly lease: string;
  readonly value: Buffer;
  readonly ttlMs: number;
}

/** What waits to be sent. More is left out: it will be loaded again, by whoever needs it. */
const MAX_WAITING = 20_000;
const WRITES_AT_ONCE = 200;

/** Sends writes that come together in few requests, a shard each. */
export class RedisConfigWrites {
  readonly #send: (send: (client: RedisClient) => Promise<number>) => Promise<unknown>;
  readonly #waiting = new Map<string, ConfigWrite[]>();
  #count = 0;
  #isSending = false;

  constructor(send: (send: (client: RedisClient) => Promise<number>) => Promise<unknown>) {
    this.#send = send;
  }

  add(shard: string, write: ConfigWrite): void {
    if (this.#count >= MAX_WAITING) return;
    this.#count += 1;
    const waiting = this.#waiting.get(shard);
    if (waiting === undefined) this.#waiting.set(shard, [write]);
    else waiting.push(write);
    if (this.#isSending) return;
    this.#isSending = true;
    setImmediate(() => void this.#sendAll());
  }

  async #sendAll(): Promise<void> {
    while (this.#waiting.size > 0) {
      const pieces = [...this.#waiting.values()].map((writes) => writes.splice(0, WRITES_AT_ONCE));
      for (const [shard, left] of this.#waiting) if (left.length === 0) this.#waiting.delete(shard);
      await Promise.all(
        pieces.map(async (writes) => {
          this.#count -= writes.length;
          const args = writes.flatMap(({ lease, value, ttlMs }) => [lease, value, ttlMs]);
          await this.#send((client) =>
            client.tidewayConfigWrite(writes.length, ...writes.map(({ key }) => key), ...args),
          );
        }),
      );
    }
    this.#isSending = false;
  }
}
