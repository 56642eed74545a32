import type { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import type { Decisions } from './decisions.ts';
import type { EntryId } from './entry-id.ts';

/**
 * The broker keeps the log of every channel. Two implementations, in memory and on Redis, give the same guarantees and
 * run the same suite:
 *
 * 1. *Order.* A channel's entries have rising ids, and each carries the id of the one before it (`prev`), so that a
 *    reader can tell a hole from a pause.
 * 2. *Once.* A publish whose (messageId, phase, sequence) is still retained stores nothing, counts against no rate, and
 *    answers the first id. What deduplication remembers is exactly what is retained.
 * 3. *Atomic.* The publish of a message happens wholly or not at all, in this order: seen → sealed → rate → append, trim, renew the
 *    TTL, tell live readers. A publish that failed may have happened; repeating it is safe.
 * 4. *Retention.* An entry goes only when there are more than `maxEntries` after it and it is older than `minAgeMs`, or
 *    when the log would exceed `maxBytes`, or when the whole log expires.
 * 5. *Seal.* END seals the channel; so does `producer_lost`, which {@link Broker.endIdle} stores. The log then lives for
 *    `sealedTtlMs`, the seal for 24 hours more.
 * 6. *Coalescing.* A START with `coalesce_window_ms` makes its channel coalesce from then on: the broker keeps beside the
 *    entries a snapshot of all that follows (and of the START), in which text deltas that follow each other are joined.
 *    Retention does not trim it; it is given up when it exceeds `maxBytes`, and goes with the log. A later START with a
 *    window changes the window, and begins another snapshot where there is none. `read` answers from it where it can (see
 *    there), so that history costs its content and not the number of its messages.
 * 7. *Live delivery is a hint.* `listen` may lose anything and repeat nothing; readers find holes by `prev` and lost
 *    ends by `tails`. lib/broker/follow.ts does that for everybody.
 */
export interface Broker {
  /** What it is called in health answers: `memory` or `redis`. */
  readonly name: 'memory' | 'redis';

  /** What is decided about channels and tokens, beside the logs. */
  readonly decisions: Decisions;

  /**
   * Stores one message. A channel is always published to with the same `whenIdle`.
   * @throws BrokerUnavailableError where it can't be known whether the message was stored. Repeat it.
   */
  publish(channel: ChannelKey, message: NewMessage, rate: PublishRate, whenIdle?: WhenIdle): Promise<PublishResult>;

  /**
   * Stores messages of one channel in their order, each as {@link publish} would, and answers each. Messages of others
   * may come between. It goes in steps of up to {@link MAX_STEP_MESSAGES} and {@link MAX_STEP_BYTES}, one round trip and
   * one atomic step each; the log is trimmed at the end of a step. Once one is over the rate, so are all after it.
   * @throws BrokerUnavailableError where it can't be known which were stored. Repeat them all.
   */
  publishMany(
    channel: ChannelKey,
    messages: readonly NewMessage[],
    rate: PublishRate,
    whenIdle?: WhenIdle,
  ): Promise<PublishResult[]>;

  /**
   * Reads up to `limit` entries after `after`, oldest first, together with the tail as it was in the same instant. Where
   * the channel has a snapshot they are entries up to where its next piece begins (none, if that is at `after`), and from
   * there on its pieces, each of up to {@link MAX_PIECE_BYTES} of text: an entry then stands for all after its `prev` up to
   * its `id`. Fewer than `limit` entries means that there were no more.
   * @throws BrokerUnavailableError
   */
  read(channel: ChannelKey, after: EntryId, limit: number): Promise<{ entries: Entry[]; tail: Tail }>;

  /**
   * The tails of many channels, in the order asked, in as few round trips as the deployment has shards. Undefined for
   * those whose shard did not answer: one that is away takes nothing from the others.
   * @throws BrokerUnavailableError if none answered.
   */
  tails(channels: readonly ChannelKey[]): Promise<(Tail | undefined)[]>;

  /**
   * Hands every entry that is published from now on to `onEntry`, as far as the network allows (guarantee 7). Resolves
   * once the subscription stands: read the history after that and nothing falls between. One subscription a channel
   * and process; a second `listen` on a channel throws.
   * @returns Ends the subscription.
   * @throws BrokerUnavailableError
   */
  listen(channel: ChannelKey, onEntry: (entry: Entry) => void): Promise<() => void>;

  /**
   * Calls `onInterruption` whenever live delivery may have lost something (a reconnect, a moved slot, a failover), after
   * it stands again. Readers then compare tails at once instead of at the next turn.
   */
  onInterruption(onInterruption: () => void): void;

  /**
   * Says how long a stream may be idle and how often that is looked at, for all processes: publishers renew a log's TTL
   * to idle + 2 × interval, the net below {@link endIdle}. Until somebody says so they use the defaults of 120 s each.
   * @throws BrokerUnavailableError
   */
  governIdle(idleMs: number, intervalMs: number): Promise<void>;

  /**
   * Ends streams without END whose last message is at least `idleMs` old: stores `producer_lost`, which seals. Decides
   * about up to `limit` candidates. Those of a shard that is away are left for a later call, and take nothing from the
   * others. Safe to run in many processes at once.
   * @throws BrokerUnavailableError if none answered.
   */
  endIdle(idleMs: number, limit: number): Promise<EndedIdle>;

  /** Resolves if the broker answers a write-path request within `timeoutMs`. @throws BrokerUnavailableError */
  ping(timeoutMs: number): Promise<void>;

  /** Ends all subscriptions and connections. Idempotent; never throws. */
  close(): Promise<void>;
}

/** A channel of an organization, `<org id>:<channel UUID in lower case>`. Made by {@link channelKey} alone. */
export type ChannelKey = string & { readonly __channelKey: unique symbol };

/** `channelId` is a valid UUID: callers validate first. */
export function channelKey(orgId: bigint, channelId: string): ChannelKey {
  return `${orgId}:${channelId.toLowerCase()}` as ChannelKey;
}

export interface NewMessage {
  /** A UUID, in lower case. */
  readonly messageId: string;
  readonly phase: Phase;
  readonly sequence: bigint;
  /** The encoded PublishRequest, stored as it is. */
  readonly data: Uint8Array;
}

/** A limit on publishes, counted for each channel in windows of one second that begin with a publish. */
export interface PublishRate {
  /** Publishes under different names are counted apart. */
  readonly name: 'unary' | 'stream';
  /** 0: no limit. */
  readonly perSec: number;
  /** What of a {@link Broker.publishMany} counts: the call, once it has something to store, or each message. */
  readonly counts?: 'calls' | 'messages';
}

/**
 * What {@link Broker.endIdle} does with a channel that nothing is published to: it ends it, which is the default; or it
 * leaves it alone, as one that has something to say now and then, for ever. The log of such a channel expires by its TTL.
 */
export type WhenIdle = 'ended' | 'kept';

export type PublishResult =
  | { readonly kind: 'stored'; readonly id: EntryId }
  | { readonly kind: 'duplicate'; readonly id: EntryId }
  | { readonly kind: 'sealed'; readonly by: EntryId }
  | { readonly kind: 'rate_limited'; readonly retryAfterMs: number };

export interface EndedIdle {
  /**
   * How many candidates were decided about, and so are none any more. As many as allowed: there may be more. What could
   * not be decided does not count, so that whoever calls for as long as there are more comes to an end.
   */
  readonly examined: number;
  /** The channels that it ended. */
  readonly ended: ChannelKey[];
  /** Why something was left, if it was. */
  readonly problem?: BrokerUnavailableError | undefined;
}

export interface Entry {
  readonly id: EntryId;
  /** The id of the entry before, {@link BEFORE_ALL} for the first of a log. */
  readonly prev: EntryId;
  readonly kind: 'message' | 'producer_lost';
  /** True if this entry seals the channel: an END, or `producer_lost`. */
  readonly seals: boolean;
  /** The encoded PublishRequest as published; empty for `producer_lost`. One made by us where several are joined. */
  readonly data: Uint8Array;
  /** Set for a text delta of a channel that coalesces: it may be joined with those before and after it, and wait so long. */
  readonly coalesceMs?: number | undefined;
}

export interface Tail {
  /** The id of the last entry, {@link BEFORE_ALL} where no log is retained. */
  readonly last: EntryId;
  /** The id of the entry that sealed the channel; outlives the log. */
  readonly sealedBy: EntryId | undefined;
}

export interface Retention {
  /** At least so many entries are kept … */
  readonly maxEntries: number;
  /** … and all that are younger than this … */
  readonly minAgeMs: number;
  /** … but never more bytes than this, counted as `data` and 128 bytes an entry. The same for a snapshot, beside them. */
  readonly maxBytes: number;
  /** How long a sealed log is kept. */
  readonly sealedTtlMs: number;
}

export const DEFAULT_RETENTION: Retention = {
  maxEntries: 1200,
  minAgeMs: 60_000,
  maxBytes: 8 * 1024 * 1024,
  sealedTtlMs: 120_000,
};

/** What an entry counts against `maxBytes` beside its data: its id, prev and deduplication key. */
export const ENTRY_OVERHEAD_BYTES = 128;

export const DEFAULT_IDLE_MS = 120_000;
export const DEFAULT_IDLE_INTERVAL_MS = 120_000;

/**
 * How much is stored in one step, and so for how long a step keeps everybody else from the server that stores it. One
 * message that is larger is a step by itself.
 */
export const MAX_STEP_MESSAGES = 64;
export const MAX_STEP_BYTES = 256 * 1024;

/** A snapshot joins text up to about so much, and begins another piece with the next message: what one message may have. */
export const MAX_PIECE_BYTES = 16 * 1024;

/** How long a seal outlives its log. */
export const SEAL_OUTLIVES_LOG_MS = 24 * 60 * 60 * 1000;

/** The broker can't be reached, or did not answer in time. Retryable: everything the broker does is idempotent. */
export class BrokerUnavailableError extends Error {
  override readonly name = 'BrokerUnavailableError';
  /** When to try again, in ms. */
  readonly retryAfterMs = 1000;
}
