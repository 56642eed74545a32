import { Cluster } from 'ioredis';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  type Broker,
  type ChannelKey,
  DEFAULT_RETENTION,
  type EndedIdle,
  type Entry,
  type NewMessage,
  type PublishRate,
  type PublishResult,
  type Retention,
  type Tail,
  type WhenIdle,
} from './broker.ts';
import { type EntryId, entryIdMs } from './entry-id.ts';
import { publishInSteps } from './publish-steps.ts';
import { RedisActivity } from './redis-activity.ts';
import type { ReadReply, RedisClient } from './redis-client.ts';
import { allSettled, RedisCommands } from './redis-commands.ts';
import type { RedisConnection } from './redis-connection.ts';
import { RedisDecisions } from './redis-decisions.ts';
import { parseLogEntry, parsePieces } from './redis-entry.ts';
import { endIdle } from './redis-idle.ts';
import { channelKeys, pingKeys } from './redis-keys.ts';
import { RedisLive } from './redis-live.ts';
import { connectTo, type RedisPlace } from './redis-place.ts';
import { listArguments, type PublishSettings, publishSettings } from './redis-publish-arguments.ts';
import { publishResults, publishScript, RedisPublishes } from './redis-publish-calls.ts';
import { publishReplicated } from './redis-replicated.ts';

export interface RedisBrokerOptions extends RedisPlace {
  readonly retention?: Partial<Retention> | undefined;
  /** The deadline of every request. */
  readonly commandTimeoutMs?: number | undefined;
  /** So many requests may wait for Redis; what comes on top is refused at once. */
  readonly maxInFlight?: number | undefined;
  /** So many replicas must have a message before it is answered; 0, the default: none. */
  readonly waitReplicas?: number | undefined;
  /** How often activity is reported and the settings are read. */
  readonly reportIntervalMs?: number | undefined;
}

const DEFAULT_COMMAND_TIMEOUT_MS = 2000;
const DEFAULT_MAX_IN_FLIGHT = 10_000;
const DEFAULT_REPORT_INTERVAL_MS = 1000;
const CLOSE_TIMEOUT_MS = 500;
// Nothing is after it, and Redis refuses to look.
const LAST_POSSIBLE_ID = '18446744073709551615-18446744073709551615';

/**
 * A broker on Redis 7: one server, Sentinel, or a Cluster. It never throws because Redis is away: it keeps trying, and
 * requests fail meanwhile.
 * @throws InvalidRedisUrlError
 */
export function createRedisBroker(options: RedisBrokerOptions): Broker {
  return new RedisBroker(options);
}

class RedisBroker implements Broker {
  readonly name = 'redis';
  readonly decisions: RedisDecisions;
  readonly #retention: Retention;
  readonly #commandTimeoutMs: number;
  readonly #waitReplicas: number;
  readonly #connection: RedisConnection;
  readonly #commands: RedisCommands;
  readonly #live: RedisLive;
  readonly #activity: RedisActivity;
  readonly #publishes = new RedisPublishes();
  #known: { readonly rate: PublishRate; readonly idleTtlMs: number; readonly settings: PublishSettings } | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RedisBrokerOptions) {
    const commandTimeoutMs = options.commandTimeoutMs ?? DEFAULT_COMMAND_TIMEOUT_MS;
    this.#commandTimeoutMs = commandTimeoutMs;
    this.#waitReplicas = options.waitReplicas ?? 0;
    this.#retention = { ...DEFAULT_RETENTION, ...options.retention };
    this.#connection = connectTo(options, commandTimeoutMs);
    this.#commands = new RedisCommands(this.#connection, {
      timeoutMs: commandTimeoutMs,
      maxInFlight: options.maxInFlight ?? DEFAULT_MAX_IN_FLIGHT,
    });
    this.#live = new RedisLive(this.#connection, commandTimeoutMs);
    this.decisions = new RedisDecisions(this.#commands);
    this.#activity = new RedisActivity(this.#commands, options.reportIntervalMs ?? DEFAULT_REPORT_INTERVAL_MS);
  }

  async publish(
    channel: ChannelKey,
    message: NewMessage,
    rate: PublishRate,
    whenIdle: WhenIdle = 'ended',
  ): Promise<PublishResult> {
    const [result] = await this.#publishStep(channel, [message], rate, whenIdle, this.#commandTimeoutMs);
    return result as PublishResult;
  }

  async publishMany(
    channel: ChannelKey,
    messages: readonly NewMessage[],
    rate: PublishRate,
    whenIdle: WhenIdle = 'ended',
  ): Promise<PublishResult[]> {
    // One deadline for all steps.
    const deadlineMs = performance.now() + this.#commandTimeoutMs;
    return publishInSteps(messages, rate, (step, stepRate) =>
      this.#publishStep(channel, step, stepRate, whenIdle, Math.max(1, deadlineMs - performance.now())),
    );
  }

  async #publishStep(
    channel: ChannelKey,
    messages: readonly NewMessage[],
    rate: PublishRate,
    whenIdle: WhenIdle,
    timeoutMs: number,
  ): Promise<PublishResult[]> {
    const results =
      this.#waitReplicas === 0
        ? await this.#sendPublish(channel, messages, rate, timeoutMs)
        : await this.#sendReplicated(channel, messages, rate, timeoutMs);
    const at = results.findLastIndex(({ kind }) => kind === 'stored');
    const last = results[at];
    if (last?.kind === 'stored') {
      // What the index does not have is no candidate.
      if (messages[at]?.phase === Phase.END) this.#activity.over(channel);
      else if (whenIdle === 'ended') this.#activity.active(channel, entryIdMs(last.id));
    } else if (whenIdle === 'ended') {
      // Perhaps nobody was answered when it was stored, and the index not told.
      const before = results.findLastIndex(({ kind }) => kind === 'duplicate');
      const known = results[before];
      if (known?.kind === 'duplicate' && messages[before]?.phase !== Phase.END) {
        this.#activity.wasActive(channel, entryIdMs(known.id));
      }
    }
    return results;
  }

  #sendPublish(
    channel: ChannelKey,
    messages: readonly NewMessage[],
    rate: PublishRate,
    timeoutMs: number,
  ): Promise<PublishResult[]> {
    const settings = this.#settings(rate);
    const deadlineMs = performance.now() + timeoutMs;
    return this.#commands.start(
      (client, settle) => this.#publishes.send(client, { channel, messages, settings, deadlineMs, settle }),
      timeoutMs,
    );
  }

  async #sendReplicated(
    channel: ChannelKey,
    messages: readonly NewMessage[],
    rate: PublishRate,
    timeoutMs: number,
  ): Promise<PublishResult[]> {
    const sent = listArguments(channel, messages, this.#settings(rate));
    const reply = await this.#commands.run(
      (client) => publishReplicated(client, publishScript, sent, this.#waitReplicas, timeoutMs),
      timeoutMs,
    );
    return publishResults(reply.split('\n'), 0, messages.length);
  }

  /** The same for nearly all. */
  #settings(rate: PublishRate): PublishSettings {
    const { idleTtlMs } = this.#activity;
    if (this.#known?.rate !== rate || this.#known.idleTtlMs !== idleTtlMs) {
      this.#known = { rate, idleTtlMs, settings: publishSettings(rate, this.#limits()) };
    }
    return this.#known.settings;
  }

  async read(channel: ChannelKey, after: EntryId, limit: number): Promise<{ entries: Entry[]; tail: Tail }> {
    const reply = await this.#commands.run((client) => read(client, channel, after, limit));
    const [found, , , words, bytes, from] = reply;
    const entries = found.map(([id, fields]) => parseLogEntry(id, fields));
    if (words && bytes) entries.push(...parsePieces(channel, words, bytes, from ?? 0));
    return { entries, tail: tailOf(reply) };
  }

  async tails(channels: readonly ChannelKey[]): Promise<(Tail | undefined)[]> {
    const tails = new Array<Tail | undefined>(channels.length).fill(undefined);
    const ask = async (client: RedisClient, channel: ChannelKey, n: number) => {
      tails[n] = tailOf(await read(client, channel, LAST_POSSIBLE_ID as EntryId, 0));
    };
    try {
      await this.#commands.run((client) => allSettled(channels.map((channel, n) => ask(client, channel, n))));
    } catch (error) {
      // What came before the deadline, or in spite of the failure of others, counts.
      if (tails.every((tail) => tail === undefined)) throw error;
    }
    // A copy: what comes after the deadline comes too late.
    return [...tails];
  }

  listen(channel: ChannelKey, onEntry: (entry: Entry) => void): Promise<() => void> {
    return this.#live.listen(channel, onEntry);
  }

  onInterruption(onInterruption: () => void): void {
    this.#live.onInterruption(onInterruption);
  }

  governIdle(idleMs: number, intervalMs: number): Promise<void> {
    return this.#activity.govern(idleMs, intervalMs);
  }

  async endIdle(idleMs: number, limit: number): Promise<EndedIdle> {
    // What this process published a moment ago is looked at as well.
    await this.#activity.report();
    return endIdle(this.#commands, idleMs, limit, this.#limits());
  }

  async ping(timeoutMs: number): Promise<void> {
    await this.#commands.run((client) => {
      // In a Cluster one shard that is away must not take the others out of service.
      const keys = client instanceof Cluster ? pingKeys() : pingKeys().slice(0, 1);
      return Promise.any(keys.map((key) => client.set(key, '1', 'PX', 60_000)));
    }, timeoutMs);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#activity.close();
    this.decisions.close();
    const tooLate = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_TIMEOUT_MS).unref());
    await Promise.race([this.#activity.report().catch(() => undefined), tooLate]);
    this.#commands.close();
    this.#live.close();
    this.#connection.close();
  }

  #limits(): [number, number, number, number, number] {
    const { maxEntries, minAgeMs, maxBytes, sealedTtlMs } = this.#retention;
    return [maxEntries, minAgeMs, maxBytes, sealedTtlMs, this.#activity.idleTtlMs];
  }
}

function read(client: RedisClient, channel: ChannelKey, after: EntryId, limit: number): Promise<ReadReply> {
  const { log, index, seal } = channelKeys(channel);
  return client.tidewayReadBuffer(log, index, seal, after, after === LAST_POSSIBLE_ID ? 0 : limit);
}

function tailOf([, last, sealedBy]: ReadReply): Tail {
  return {
    last: last.toString('latin1') as EntryId,
    sealedBy: sealedBy.length > 0 ? (sealedBy.toString('latin1') as EntryId) : undefined,
  };
}
