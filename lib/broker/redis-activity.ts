import { type ChannelKey, DEFAULT_IDLE_INTERVAL_MS, DEFAULT_IDLE_MS } from './broker.ts';
import type { RedisClient } from './redis-client.ts';
import type { RedisCommands } from './redis-commands.ts';
import { ACTIVITY_SHARDS, activityKey, activityShard, SETTINGS_KEY } from './redis-keys.ts';

const MAX_CHANNELS = 100_000;
const CHUNK = 500;
const INDEX_TTL_MS = 24 * 60 * 60 * 1000;
const OVER = -1;

/** What the index says of a channel, and which of its sets it is in. */
export interface IdleCandidate {
  readonly index: string;
  readonly channel: ChannelKey;
  readonly score: string;
}

/**
 * The index of open channels by their last activity, kept off the publish path: what happened is collected here and
 * reported each tick. The same tick reads for how long logs are to live. The index is a hint: a channel that is missing
 * from it ends by its TTL, one that is in it without reason is found out by endIdle.
 */
export class RedisActivity {
  /** The TTL that a publish gives to a log. */
  idleTtlMs = DEFAULT_IDLE_MS + 2 * DEFAULT_IDLE_INTERVAL_MS;
  readonly #commands: RedisCommands;
  readonly #timer: NodeJS.Timeout;
  #pending = new Map<ChannelKey, number>();
  #governed: { readonly idleMs: number; readonly intervalMs: number } | undefined;
  #reporting: Promise<void> | undefined;

  constructor(commands: RedisCommands, intervalMs: number) {
    this.#commands = commands;
    // A tick that fails is repeated by the next: what it had to report is kept.
    this.#timer = setInterval(() => this.report().catch(() => undefined), intervalMs).unref();
  }

  /** `channel` has a new last entry, and goes on. */
  active(channel: ChannelKey, lastMs: number): void {
    this.#note(channel, lastMs);
  }

  /** The same of an entry that may be an old one: what is known of `channel` already counts more. */
  wasActive(channel: ChannelKey, lastMs: number): void {
    if (!this.#pending.has(channel)) this.#note(channel, lastMs);
  }

  /** `channel` is sealed. */
  over(channel: ChannelKey): void {
    this.#note(channel, OVER);
  }

  async govern(idleMs: number, intervalMs: number): Promise<void> {
    this.#governed = { idleMs, intervalMs };
    this.idleTtlMs = idleMs + 2 * intervalMs;
    await this.#commands.run((client) => client.hset(SETTINGS_KEY, { idle_ms: idleMs, interval_ms: intervalMs }));
  }

  /** Reports what happened, and reads the settings. */
  async report(): Promise<void> {
    await this.#reporting;
    this.#reporting ??= this.#report().finally(() => {
      this.#reporting = undefined;
    });
    await this.#reporting;
  }

  /** Up to `limit` channels without activity since `beforeMs`, with the ms that the index has for them. */
  async idle(beforeMs: number, limit: number): Promise<IdleCandidate[]> {
    const found: IdleCandidate[] = [];
    // Where it begins is left to chance, so that several callers with small limits don't look at the same channels.
    const start = Math.floor(Math.random() * ACTIVITY_SHARDS);
    for (let n = 0; n < ACTIVITY_SHARDS && found.length < limit; n += 1) {
      const key = activityKey((start + n) % ACTIVITY_SHARDS);
      const room = limit - found.length;
      const members = await this.#commands.run((client) =>
        client.zrangebyscore(key, '-inf', beforeMs, 'WITHSCORES', 'LIMIT', 0, room),
      );
      for (let at = 0; at + 1 < members.length; at += 2) {
        found.push({ index: key, channel: members[at] as ChannelKey, score: members[at + 1] ?? '' });
      }
    }
    return found;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #note(channel: ChannelKey, lastMs: number): void {
    this.#pending.set(channel, lastMs);
    if (this.#pending.size <= MAX_CHANNELS) return;
    const [oldest] = this.#pending.keys();
    if (oldest !== undefined) this.#pending.delete(oldest);
  }

  async #report(): Promise<void> {
    // First of all: a process that doesn't know the settings yet must not judge what is too old for the index.
    await this.#readSettings();
    if (this.#pending.size === 0) return;
    const reported = this.#pending;
    this.#pending = new Map();
    try {
      await this.#commands.run((client) => this.#write(client, reported));
    } catch (error) {
      for (const [channel, lastMs] of reported) if (!this.#pending.has(channel)) this.#note(channel, lastMs);
      throw error;
    }
  }

  async #readSettings(): Promise<void> {
    const [idle, interval] = await this.#commands.run((client) => client.hmget(SETTINGS_KEY, 'idle_ms', 'interval_ms'));
    const idleMs = Number(idle ?? Number.NaN);
    const intervalMs = Number(interval ?? Number.NaN);
    if (idleMs >= 0 && intervalMs >= 0) this.idleTtlMs = idleMs + 2 * intervalMs;
    // Redis lost them: whoever governs says it again.
    else if (this.#governed) await this.govern(this.#governed.idleMs, this.#governed.intervalMs);
  }

  async #write(client: RedisClient, reported: ReadonlyMap<ChannelKey, number>): Promise<void> {
    const shards = new Map<number, { scores: (string | number)[]; over: string[]; newestMs: number }>();
    for (const [channel, lastMs] of reported) {
      const n = activityShard(channel);
      const shard = shards.get(n) ?? { scores: [], over: [], newestMs: 0 };
      shards.set(n, shard);
      if (lastMs === OVER) shard.over.push(channel);
      else shard.scores.push(lastMs, channel);
      shard.newestMs = Math.max(shard.newestMs, lastMs);
    }
    await Promise.all(
      [...shards].flatMap(([n, { scores, over, newestMs }]) => {
        const key = activityKey(n);
        const sent: Promise<unknown>[] = [];
        for (const part of chunks(scores)) sent.push(client.zadd(key, 'GT', ...part));
        for (const part of chunks(over)) sent.push(client.zrem(key, ...part));
        // What no cleanup looked at before its log expired.
        if (newestMs > 0) sent.push(client.zremrangebyscore(key, '-inf', newestMs - 2 * this.idleTtlMs));
        sent.push(client.pexpire(key, INDEX_TTL_MS));
        return sent;
      }),
    );
  }
}

function* chunks<T>(items: readonly T[]): Generator<T[]> {
  for (let at = 0; at < items.length; at += 2 * CHUNK) yield items.slice(at, at + 2 * CHUNK);
}
