import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  type Broker,
  BrokerUnavailableError,
  type ChannelKey,
  DEFAULT_IDLE_INTERVAL_MS,
  DEFAULT_IDLE_MS,
  DEFAULT_RETENTION,
  type Entry,
  type NewMessage,
  type PublishRate,
  type PublishResult,
  type Retention,
  SEAL_OUTLIVES_LOG_MS,
  type Tail,
  type WhenIdle,
} from './broker.ts';
import { BEFORE_ALL, type EntryId, entryIdMs } from './entry-id.ts';
import { MemoryLog } from './memory-log.ts';
import { messageKey } from './message-key.ts';

export interface MemoryBrokerOptions {
  readonly retention?: Partial<Retention> | undefined;
  /** All logs and seals together; a publish beyond it is refused as unavailable. */
  readonly maxTotalBytes?: number | undefined;
  /** The clock, in whole ms since the epoch. */
  readonly now?: (() => number) | undefined;
}

const DEFAULT_MAX_TOTAL_BYTES = 512 * 1024 * 1024;
const SWEEP_INTERVAL_MS = 1000;
const MOVE_AFTER_MS = 1000;
// What a channel costs beside its entries: map slots, arrays, strings.
const LOG_OVERHEAD_BYTES = 1024;
const SEAL_OVERHEAD_BYTES = 256;

/** A broker in this process's memory: for development, for tests, and for a deployment of one process. */
export function createMemoryBroker(options: MemoryBrokerOptions = {}): Broker {
  return new MemoryBroker(options);
}

interface NewEntry {
  /** What deduplication remembers; empty: nothing. */
  readonly key: string;
  readonly data: Uint8Array;
  readonly kind: Entry['kind'];
  readonly seals: boolean;
  readonly whenIdle: WhenIdle;
}

const PRODUCER_LOST: NewEntry = {
  key: '',
  data: new Uint8Array(0),
  kind: 'producer_lost',
  seals: true,
  whenIdle: 'ended',
};

interface Seal {
  readonly id: EntryId;
  readonly expiresAtMs: number;
}

class MemoryBroker implements Broker {
  readonly name = 'memory';
  readonly #retention: Retention;
  readonly #maxTotalBytes: number;
  readonly #now: () => number;
  // Maps iterate in order of insertion. A publish moves its channel to the end of #open unless that happened a moment
  // ago, so that its front is what has been idle longest; #sealed and #seals are in order of sealing. Expiry and endIdle
  // look at the fronts alone. #kept is as #open, of channels that are not ended when they are idle.
  readonly #open = new Map<ChannelKey, MemoryLog>();
  readonly #kept = new Map<ChannelKey, MemoryLog>();
  readonly #sealed = new Map<ChannelKey, MemoryLog>();
  readonly #seals = new Map<ChannelKey, Seal>();
  readonly #listeners = new Map<ChannelKey, (entry: Entry) => void>();
  readonly #sweeper: NodeJS.Timeout;
  #idleTtlMs = DEFAULT_IDLE_MS + 2 * DEFAULT_IDLE_INTERVAL_MS;
  #logBytes = 0;
  #clockMs = 0;
  #closed = false;

  constructor(options: MemoryBrokerOptions) {
    this.#retention = { ...DEFAULT_RETENTION, ...options.retention };
    this.#maxTotalBytes = options.maxTotalBytes ?? DEFAULT_MAX_TOTAL_BYTES;
    this.#now = options.now ?? Date.now;
    this.#sweeper = setInterval(() => this.#sweep(this.#tick()), SWEEP_INTERVAL_MS).unref();
  }

  async publish(
    channel: ChannelKey,
    message: NewMessage,
    rate: PublishRate,
    whenIdle: WhenIdle = 'ended',
  ): Promise<PublishResult> {
    const nowMs = this.#tick();
    const key = messageKey(message);
    const retained = this.#log(channel, nowMs);
    const id = retained?.seen(key);
    if (id) return { kind: 'duplicate', id };
    const sealedBy = this.#sealedBy(channel, nowMs);
    if (sealedBy) return { kind: 'sealed', by: sealedBy };
    const log = retained ?? new MemoryLog();
    const retryAfterMs = log.waitMs(rate, nowMs);
    if (retryAfterMs > 0) return { kind: 'rate_limited', retryAfterMs };
    this.#makeRoom(message.data.length, nowMs);
    log.count(rate, nowMs);
    // Bytes of its own: what arrives is often a small view of a large network buffer, which would be kept alive.
    const data = new Uint8Array(message.data);
    const entry: NewEntry = { key, data, kind: 'message', seals: message.phase === Phase.END, whenIdle };
    return { kind: 'stored', id: this.#append(channel, log, entry, nowMs) };
  }

  async read(channel: ChannelKey, after: EntryId, limit: number): Promise<{ entries: Entry[]; tail: Tail }> {
    const nowMs = this.#tick();
    const log = this.#log(channel, nowMs);
    return { entries: log?.after(after, limit) ?? [], tail: this.#tail(channel, nowMs) };
  }

  async tails(channels: readonly ChannelKey[]): Promise<Tail[]> {
    const nowMs = this.#tick();
    return channels.map((channel) => this.#tail(channel, nowMs));
  }

  async listen(channel: ChannelKey, onEntry: (entry: Entry) => void): Promise<() => void> {
    this.#tick();
    if (this.#listeners.has(channel)) throw new Error('this channel is listened to already');
    this.#listeners.set(channel, onEntry);
    return () => {
      if (this.#listeners.get(channel) === onEntry) this.#listeners.delete(channel);
    };
  }

  onInterruption(): void {
    // Delivery is a function call: nothing interrupts it.
  }

  async governIdle(idleMs: number, intervalMs: number): Promise<void> {
    this.#tick();
    this.#idleTtlMs = idleMs + 2 * intervalMs;
  }

  async endIdle(idleMs: number, limit: number): Promise<{ examined: number; ended: ChannelKey[] }> {
    const nowMs = this.#tick();
    this.#sweep(nowMs);
    const idle: [ChannelKey, MemoryLog][] = [];
    for (const [channel, log] of this.#open) {
      // Whatever follows was moved later still, and was active since.
      if (idle.length === limit || nowMs - log.movedMs < idleMs) break;
      if (nowMs - entryIdMs(log.last) >= idleMs) idle.push([channel, log]);
    }
    for (const [channel, log] of idle) this.#append(channel, log, PRODUCER_LOST, nowMs);
    return { examined: idle.length, ended: idle.map(([channel]) => channel) };
  }

  async ping(): Promise<void> {
    this.#tick();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweeper);
    this.#listeners.clear();
    this.#open.clear();
    this.#kept.clear();
    this.#sealed.clear();
    this.#seals.clear();
    this.#logBytes = 0;
  }

  #append(channel: ChannelKey, log: MemoryLog, { key, data, kind, seals, whenIdle }: NewEntry, nowMs: number): EntryId {
    const before = log.bytes;
    const entry = log.append(key, data, kind, seals, nowMs);
    log.trim(this.#retention, nowMs);
    this.#logBytes += log.bytes - before;
    if (seals) {
      this.#open.delete(channel);
      this.#kept.delete(channel);
      log.expiresAtMs = nowMs + this.#retention.sealedTtlMs;
      this.#sealed.set(channel, log);
      this.#seals.set(channel, { id: entry.id, expiresAtMs: log.expiresAtMs + SEAL_OUTLIVES_LOG_MS });
    } else {
      log.expiresAtMs = nowMs + this.#idleTtlMs;
      if (nowMs - log.movedMs >= MOVE_AFTER_MS) {
        log.movedMs = nowMs;
        const logs = whenIdle === 'kept' ? this.#kept : this.#open;
        logs.delete(channel);
        logs.set(channel, log);
      }
    }
    this.#listeners.get(channel)?.(entry);
    return entry.id;
  }

  /** The time, which never goes back: ids are made of it. */
  #tick(): number {
    if (this.#closed) throw new BrokerUnavailableError('the memory broker is closed');
    this.#clockMs = Math.max(this.#clockMs, this.#now());
    return this.#clockMs;
  }

  #log(channel: ChannelKey, nowMs: number): MemoryLog | undefined {
    const log = this.#open.get(channel) ?? this.#kept.get(channel) ?? this.#sealed.get(channel);
    if (!log || nowMs < log.expiresAtMs) return log;
    this.#drop(channel, log);
    return undefined;
  }

  #sealedBy(channel: ChannelKey, nowMs: number): EntryId | undefined {
    const seal = this.#seals.get(channel);
    if (!seal || nowMs < seal.expiresAtMs) return seal?.id;
    this.#seals.delete(channel);
    return undefined;
  }

  #tail(channel: ChannelKey, nowMs: number): Tail {
    return { last: this.#log(channel, nowMs)?.last ?? BEFORE_ALL, sealedBy: this.#sealedBy(channel, nowMs) };
  }

  #drop(channel: ChannelKey, log: MemoryLog): void {
    this.#logBytes -= log.bytes;
    this.#open.delete(channel);
    this.#kept.delete(channel);
    this.#sealed.delete(channel);
  }

  #makeRoom(dataBytes: number, nowMs: number): void {
    if (this.#totalBytes() + dataBytes <= this.#maxTotalBytes) return;
    this.#sweep(nowMs);
    if (this.#totalBytes() + dataBytes <= this.#maxTotalBytes) return;
    throw new BrokerUnavailableError(`the memory broker is full: it may retain ${this.#maxTotalBytes} bytes`);
  }

  #totalBytes(): number {
    return (
      this.#logBytes +
      (this.#open.size + this.#kept.size + this.#sealed.size) * LOG_OVERHEAD_BYTES +
      this.#seals.size * SEAL_OVERHEAD_BYTES
    );
  }

  // Behind one that expires later (it was not moved, or governIdle changed the TTL) a log only waits a little longer
  // here: every access checks expiry for itself.
  #sweep(nowMs: number): void {
    for (const logs of [this.#open, this.#kept, this.#sealed]) {
      for (const [channel, log] of logs) {
        if (nowMs < log.expiresAtMs) break;
        this.#drop(channel, log);
      }
    }
    for (const [channel, seal] of this.#seals) {
      if (nowMs < seal.expiresAtMs) break;
      this.#seals.delete(channel);
    }
  }
}
