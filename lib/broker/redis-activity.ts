import { type ChannelKey, DEFAULT_IDLE_INTERVAL_MS, DEFAULT_IDLE_MS } from './broker.ts';
import type { RedisClient } from './redis-client.ts';
import type { RedisCommands } from './redis-commands.ts';
import { ACTIVITY_SHARDS, activityKey, activityShard, SETTINGS_KEY } from './redis-keys.ts';

const MAX_CHANNELS = 100_000;
const MAX_CHANNELS_PER_SHARD = Math.ceil(MAX_CHANNELS / ACTIVITY_SHARDS);
const CHUNK = 500;
const INDEX_TTL_MS = 24 * 60 * 60 * 1000;
const OVER = -1;

type Activity = Map<ChannelKey, number>;

/** A part of the index, which is reported to by itself: in a Cluster its server may be away and the others not. */
interface Shard {
  readonly key: string;
  waiting: Activity;
  sent: Activity | undefined;
  /** False if it failed. */
  reporting: Promise<boolean> | undefined;
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
  readonly #shards = Array.from({ length: ACTIVITY_SHARDS }, (_, n): Shard => {
    return { key: activityKey(n), waiting: new Map(), sent: undefined, reporting: undefined };
  });
  #pending: Activity = new Map();
  #governed: { readonly idleMs: number; readonly intervalMs: number } | undefined;
  #reading: Promise<void> | undefined;
  // A process that doesn't know the settings must not judge what is too old for the index.
  #knowsSettings = false;

  constructor(commands: RedisCommands, intervalMs: number) {
    this.#commands = commands;
    this.#timer = setInterval(() => void this.report(), intervalMs).unref();
  }

  /** `channel` has a new last entry, and goes on. */
  active(channel: ChannelKey, lastMs: number): void {
    note(this.#pending, channel, lastMs, MAX_CHANNELS);
  }

  /** The same of an entry that may be an old one: what is known of `channel` already counts more. */
  wasActive(channel: ChannelKey, lastMs: number): void {
    const shard = this.#shards[activityShard(channel)];
    if (this.#pending.has(channel) || shard?.waiting.has(channel) || shard?.sent?.has(channel)) return;
    this.active(channel, lastMs);
  }

  /** `channel` is sealed. */
  over(channel: ChannelKey): void {
    this.active(channel, OVER);
  }

  async govern(idleMs: number, intervalMs: number): Promise<void> {
    this.#governed = { idleMs, intervalMs };
    this.idleTtlMs = idleMs + 2 * intervalMs;
    await this.#commands.run((client) => client.hset(SETTINGS_KEY, { idle_ms: idleMs, interval_ms: intervalMs }));
  }

  /**
   * Reports what happened, and reads the settings. Each part by itself: what can't be reported is kept, within bounds,
   * and repeated by the next tick, while the others go on.
   */
  async report(): Promise<void> {
    for (const [channel, lastMs] of this.#pending) {
      const shard = this.#shards[activityShard(channel)];
      if (shard) note(shard.waiting, channel, lastMs, MAX_CHANNELS_PER_SHARD);
    }
    this.#pending.clear();
    this.#reading ??= this.#readSettings().finally(() => {
      this.#reading = undefined;
    });
    await Promise.all([this.#reading, ...this.#shards.map((shard) => this.#reportTo(shard))]);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #reportTo(shard: Shard): Promise<void> {
    // Where what is on its way fails, so would this: one deadline is enough for a turn.
    if (shard.reporting && !(await shard.reporting)) return;
    if (shard.waiting.size > 0) {
      shard.reporting ??= this.#send(shard).finally(() => {
        shard.reporting = undefined;
      });
    }
    await shard.reporting;
  }

  async #send(shard: Shard): Promise<boolean> {
    const sent = shard.waiting;
    shard.waiting = new Map();
    shard.sent = sent;
    try {
      await this.#commands.run((client) => this.#write(client, shard.key, sent));
      return true;
    } catch {
      for (const [channel, lastMs] of shard.waiting) note(sent, channel, lastMs, MAX_CHANNELS_PER_SHARD);
      shard.waiting = sent;
      return false;
    } finally {
      shard.sent = undefined;
    }
  }

  async #readSettings(): Promise<void> {
    try {
      const settings = await this.#commands.run((client) => client.hmget(SETTINGS_KEY, 'idle_ms', 'interval_ms'));
      const [idleMs, intervalMs] = settings.map((value) => Number(value ?? Number.NaN)) as [number, number];
      if (idleMs >= 0 && intervalMs >= 0) this.idleTtlMs = idleMs + 2 * intervalMs;
      // Redis lost them: whoever governs says it again.
      else if (this.#governed) await this.govern(this.#governed.idleMs, this.#governed.intervalMs);
      this.#knowsSettings = true;
    } catch {
      this.#knowsSettings = false;
    }
  }

  async #write(client: RedisClient, key: string, reported: Activity): Promise<void> {
    const scores: (string | number)[] = [];
    const over: string[] = [];
    let newestMs = 0;
    for (const [channel, lastMs] of reported) {
      if (lastMs === OVER) over.push(channel);
      else scores.push(lastMs, channel);
      newestMs = Math.max(newestMs, lastMs);
    }
    const sent: Promise<unknown>[] = [];
    for (const part of chunks(scores)) sent.push(client.zadd(key, 'GT', ...part));
    for (const part of chunks(over)) sent.push(client.zrem(key, ...part));
    // What no cleanup looked at before its log expired.
    if (newestMs > 0 && this.#knowsSettings) {
      sent.push(client.zremrangebyscore(key, '-inf', newestMs - 2 * this.idleTtlMs));
    }
    sent.push(client.pexpire(key, INDEX_TTL_MS));
    await Promise.all(sent);
  }
}

function note(activity: Activity, channel: ChannelKey, lastMs: number, max: number): void {
  activity.set(channel, lastMs);
  if (activity.size <= max) return;
  const [oldest] = activity.keys();
  if (oldest !== undefined) activity.delete(oldest);
}

function* chunks<T>(items: readonly T[]): Generator<T[]> {
  for (let at = 0; at < items.length; at += 2 * CHUNK) yield items.slice(at, at + 2 * CHUNK);
}
