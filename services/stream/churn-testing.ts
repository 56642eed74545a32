import { queryObjects } from 'node:v8';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { type Broker, type ChannelKey, channelKey } from '#lib/broker/broker.ts';
import { newMessage } from '#lib/broker/broker-harness.ts';
import { ChannelFeed } from '#lib/broker/channel-feed.ts';
import { Follower } from '#lib/broker/follow.ts';
import { Connection } from './connection.ts';
import { Delivery, type Sink } from './delivery.ts';
import { Listeners } from './listeners.ts';
import { sseWire } from './sse-wire.ts';
import { together } from './together.ts';
import { TokenHolds, tellingAll } from './token-holds.ts';

const ORG_ID = 7n;
const AT_ONCE = 250;
const RATE = { name: 'unary', perSec: 0 } as const;

/** What a channel might leave behind: how many are alive after a garbage collection. */
export function aliveObjects(): number {
  const kinds = [ChannelFeed, Connection, Delivery];
  return kinds.reduce((sum, kind) => sum + queryObjects(kind, { format: 'count' }), 0);
}

export function activeTimers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
}

/** The parts of a stream process between the sockets and the broker, through which channels come and go. */
export class Churn {
  readonly #broker: Broker;
  readonly #follower: Follower<Delivery>;
  readonly #listeners: Listeners;
  readonly #holds: TokenHolds;

  constructor(broker: Broker) {
    const onError = (error: unknown) => {
      throw error;
    };
    this.#broker = broker;
    this.#follower = new Follower({
      broker,
      share: (entry) => new Delivery(entry),
      together,
      onError,
    });
    this.#listeners = new Listeners({ follower: this.#follower, maxConnectionMs: 600_000, maxListeners: 100_000 });
    this.#holds = new TokenHolds({ decisions: broker.decisions, cutExpired: true, onError });
  }

  /**
   * So many channels, each listened to twice, early and late, and published to. Of four, two end, one is left without END and
   * one is left by its listeners before anything was published.
   */
  async run(channels: number): Promise<void> {
    for (let at = 0; at < channels; at += AT_ONCE) {
      const count = Math.min(AT_ONCE, channels - at);
      await Promise.all(Array.from({ length: count }, (_, n) => this.#one(at + n)));
    }
  }

  async #one(n: number): Promise<void> {
    const channelId = crypto.randomUUID();
    const channel = channelKey(ORG_ID, channelId);
    const early = await this.#listen(channel, channelId);
    if (n % 4 === 3) early.onGone();
    await this.#publish(channel, Phase.START);
    const late = await this.#listen(channel, channelId);
    await this.#publish(channel, Phase.DELTA);
    if (n % 4 < 2) {
      await this.#publish(channel, Phase.END);
      await Promise.all([early.over.promise, late.over.promise]);
    } else {
      early.onGone();
      late.onGone();
    }
  }

  async #publish(channel: ChannelKey, phase: Phase): Promise<void> {
    const { kind } = await this.#broker.publish(channel, newMessage({ phase }), RATE);
    if (kind !== 'stored') throw new Error(`a message was ${kind}`);
  }

  async #listen(channel: ChannelKey, channelId: string): Promise<Reading> {
    const sink = new Reading();
    const claims: StreamClaims = { orgId: ORG_ID, channelId, expiresAtMs: Date.now() + 3_600_000, tokenId: channelId };
    const joining = { channel, cursor: undefined, wire: sseWire, sink, wantsDrainNotice: () => true };
    const joined = await this.#holds.hold(claims, tellingAll(sink, sseWire), () => this.#listeners.join(joining));
    if (joined === 'at_end') throw new Error('a new channel is at its end');
    return sink;
  }

  /** What is in its maps. */
  get left() {
    return { followed: this.#follower.channels, listeners: this.#listeners.count, held: this.#holds.size };
  }

  close(): void {
    this.#listeners.close();
    this.#holds.close();
  }
}

/** A reader that takes everything at once. */
class Reading implements Sink<Uint8Array> {
  readonly over = Promise.withResolvers<void>();
  readonly waitingBytes = 0;
  isGone = false;
  onDrain: () => void = () => {};
  onGone: () => void = () => {};

  write(): boolean {
    return true;
  }

  end(): void {
    this.isGone = true;
    this.over.resolve();
    // As a response closes, when its last bytes are out.
    setImmediate(() => this.onGone());
  }

  fail(reason: string): void {
    this.over.reject(new Error(reason));
  }
}
