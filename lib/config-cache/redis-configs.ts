import { randomUUID } from 'node:crypto';
import type { RedisClient } from '#lib/broker/redis-client.ts';
import { RedisCommands } from '#lib/broker/redis-commands.ts';
import type { RedisConnection } from '#lib/broker/redis-connection.ts';
import { connectTo, type RedisPlace } from '#lib/broker/redis-place.ts';
import type { ChangeLog } from '#lib/store/store.ts';
import type { ChangeStep } from './change-follower.ts';
import { UNKNOWN_TTL_MS } from './config-cache.ts';
import type { ConfigEntry } from './config-entry.ts';
import { CONFIG_SHARDS, configKey, configMarkKey, configShardOf, configStateKey } from './redis-config-keys.ts';
import { defineConfigScripts } from './redis-config-scripts.ts';
import { decodeEntry, encodeEntry, encodeLease } from './redis-config-value.ts';
import { RedisConfigWrites } from './redis-config-writes.ts';
import { SHARED_DEADLINE_MS, type SharedAnswer, type SharedConfigs } from './shared-configs.ts';

export interface RedisConfigsOptions extends RedisPlace {
  readonly changes: Pick<ChangeLog, 'since'>;
  /** How long an entry is kept. */
  readonly keepMs: number;
  /** For each answer of Redis. */
  readonly deadlineMs?: number;
}

/** A shard as this process knows it. It is used only while it is joined. */
interface Shard {
  readonly name: string;
  isJoined: boolean;
  generation: string;
  mark: number;
}

/** Longer than a lease's holder takes to write. */
const LEASE_MS = 15_000;
const MARK_TTL_MS = 600_000;
const MARK_RENEWAL_MS = 60_000;
/** After Redis did not answer in time, lookups don't wait for it for so long. */
const PAUSE_MS = 1_000;
const CONNECTION_TIMEOUT_MS = 2_000;
const MAX_IN_FLIGHT = 2_000;
const REMOVED_AT_ONCE = 1_000;

/** @throws InvalidRedisUrlError */
export function createRedisConfigs(options: RedisConfigsOptions): SharedConfigs {
  return new RedisConfigs(options);
}

class RedisConfigs implements SharedConfigs {
  readonly #options: RedisConfigsOptions;
  readonly #connection: RedisConnection;
  readonly #commands: RedisCommands;
  readonly #writes: RedisConfigWrites;
  readonly #processId = randomUUID();
  readonly #shards = new Map<string, Shard>(
    CONFIG_SHARDS.map((name) => [name, { name, isJoined: false, generation: '', mark: 0 }]),
  );
  /** Keys of steps that are under way. */
  readonly #removing = new Set<string>();
  #leases = 0;
  #pausedUntilMs = 0;
  #markedAtMs = 0;

  constructor(options: RedisConfigsOptions) {
    this.#options = options;
    this.#connection = connectTo(options, CONNECTION_TIMEOUT_MS);
    this.#connection.whenOpen(defineConfigScripts);
    const { deadlineMs: timeoutMs = SHARED_DEADLINE_MS } = options;
    this.#commands = new RedisCommands(this.#connection, { timeoutMs, maxInFlight: MAX_IN_FLIGHT });
    this.#writes = new RedisConfigWrites((send) => this.#try(send));
  }

  async read(publicKeys: readonly string[]): Promise<Map<string, SharedAnswer>> {
    const answers = new Map<string, SharedAnswer>();
    if (performance.now() < this.#pausedUntilMs) return answers;
    const byShard = Map.groupBy(
      publicKeys.filter((key) => !this.#removing.has(key)),
      configShardOf,
    );
    await Promise.all(
      [...byShard].map(async ([name, keys]) => {
        const shard = this.#shards.get(name);
        if (shard?.isJoined) await this.#readShard(shard, keys, answers);
      }),
    );
    return answers;
  }

  write(publicKey: string, lease: string, entry: ConfigEntry): void {
    const shard = this.#shards.get(configShardOf(publicKey));
    if (!shard?.isJoined) return;
    this.#writes.add(shard.name, {
      key: configKey(publicKey),
      lease: encodeLease(shard.generation, lease),
      value: encodeEntry(shard.generation, entry),
      ttlMs: entry.kind === 'unknown' ? UNKNOWN_TTL_MS : this.#options.keepMs,
    });
  }

  async apply(step: ChangeStep): Promise<void> {
    const shards = this.#joined();
    if (step.kind === 'reset') {
      for (const shard of shards) shard.isJoined = false;
      await Promise.all(shards.map((shard) => this.#renew(shard, step.to)));
      return;
    }
    for (const key of step.publicKeys) this.#removing.add(key);
    const byShard = Map.groupBy(step.publicKeys, configShardOf);
    await Promise.all(
      shards.map(async (shard) => {
        const isDone = await this.#remove(shard, byShard.get(shard.name) ?? [], step.to, `${shard.mark}`);
        if (!isDone) shard.isJoined = false;
      }),
    );
    for (const key of step.publicKeys) this.#removing.delete(key);
    this.#markedAtMs = performance.now();
  }

  async maintain(cursor: string): Promise<void> {
    if (performance.now() < this.#pausedUntilMs) return;
    if (performance.now() - this.#markedAtMs > MARK_RENEWAL_MS) {
      await this.apply({ kind: 'changes', publicKeys: [], from: cursor, to: cursor });
    }
    const apart = [...this.#shards.values()].filter(({ isJoined }) => !isJoined);
    if (apart.length > 0) await this.#join(apart, cursor).catch(() => undefined);
  }

  close(): void {
    this.#commands.close();
    this.#connection.close();
  }

  #joined(): Shard[] {
    return [...this.#shards.values()].filter(({ isJoined }) => isJoined);
  }

  async #readShard(shard: Shard, publicKeys: readonly string[], answers: Map<string, SharedAnswer>): Promise<void> {
    this.#leases += 1;
    const lease = `${this.#processId}.${this.#leases}`;
    const { generation, mark } = shard;
    const keys = [...this.#ownKeys(shard), ...publicKeys.map(configKey)];
    const values = await this.#try((client) =>
      client.tidewayConfigReadBuffer(keys.length, ...keys, generation, mark, lease, LEASE_MS),
    );
    if (values === undefined) return;
    if (values === null) {
      // A step that is under way has moved the mark: that is no mismatch.
      if (shard.mark === mark && shard.generation === generation) shard.isJoined = false;
      return;
    }
    for (const [at, key] of publicKeys.entries()) {
      const value = values[at] ?? undefined;
      if (value === undefined) continue;
      const entry = value.length === 0 ? undefined : decodeEntry(value);
      if (value.length === 0) answers.set(key, { kind: 'lease', lease });
      else if (entry !== undefined) answers.set(key, { kind: 'entry', entry });
    }
  }

  /** True: removed, and the shard carries cursor and mark. `expectedMark` empty: whatever is there. */
  async #remove(shard: Shard, publicKeys: readonly string[], cursor: string, expectedMark: string): Promise<boolean> {
    shard.mark += 1;
    const keys = [...this.#ownKeys(shard), ...publicKeys.map(configKey)];
    const { generation, mark } = shard;
    const done = await this.#try((client) =>
      client.tidewayConfigRemove(keys.length, ...keys, generation, expectedMark, mark, MARK_TTL_MS, cursor),
    );
    return done === 1;
  }

  async #renew(shard: Shard, cursor: string): Promise<void> {
    const generation = newGeneration();
    shard.mark += 1;
    const done = await this.#try((client) =>
      client.tidewayConfigRenew(
        ...this.#ownKeys(shard),
        ...[shard.generation, generation, cursor, shard.mark, MARK_TTL_MS],
      ),
    );
    if (done !== 1) return;
    shard.generation = generation;
    shard.isJoined = true;
  }

  /** Shards that stopped at the same cursor, usually all, share the questions to the store. */
  async #join(shards: readonly Shard[], cursor: string): Promise<void> {
    const found = await Promise.all(
      shards.map(async (shard) => {
        const [generation, from] =
          (await this.#try((client) =>
            client.tidewayConfigJoin(configStateKey(shard.name), newGeneration(), cursor),
          )) ?? [];
        if (generation !== undefined) shard.generation = generation;
        return { shard, from };
      }),
    );
    for (const [from, group] of Map.groupBy(found, (one) => one.from)) {
      const members = group.map(({ shard }) => shard);
      if (from !== undefined) await this.#joinFrom(members, from);
    }
  }

  async #joinFrom(shards: readonly Shard[], from: string): Promise<void> {
    let left = shards;
    let at = from;
    for (let more = true; more && left.length > 0; ) {
      const result = await this.#options.changes.since(at);
      if (result.kind === 'reset') {
        await Promise.all(left.map((shard) => this.#renew(shard, result.cursor)));
        return;
      }
      const byShard = Map.groupBy(result.publicKeys, configShardOf);
      const outcomes = await Promise.all(
        left.map(async (shard) => {
          const keys = byShard.get(shard.name) ?? [];
          for (let begin = 0; begin === 0 || begin < keys.length; begin += REMOVED_AT_ONCE) {
            const isLast = begin + REMOVED_AT_ONCE >= keys.length;
            // The cursor moves with the last piece.
            const piece = keys.slice(begin, begin + REMOVED_AT_ONCE);
            if (!(await this.#remove(shard, piece, isLast ? result.cursor : at, ''))) return undefined;
          }
          return shard;
        }),
      );
      left = outcomes.filter((shard) => shard !== undefined);
      at = result.cursor;
      more = result.more;
    }
    for (const shard of left) shard.isJoined = true;
    this.#markedAtMs = performance.now();
  }

  #ownKeys(shard: Shard): [state: string, mark: string] {
    return [configStateKey(shard.name), configMarkKey(shard.name, this.#processId)];
  }

  /** Undefined: it did not answer. */
  async #try<T>(send: (client: RedisClient) => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#commands.run(send);
    } catch {
      this.#pausedUntilMs = performance.now() + PAUSE_MS;
      return undefined;
    }
  }
}

function newGeneration(): string {
  return randomUUID();
}
