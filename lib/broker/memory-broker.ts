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
import { MemoryDecisions } from './memory-decisions.ts';
import { MemoryLog } from './memory-log.ts';
import { publishInSteps } from './publish-steps.ts';

export interface MemoryBrokerOptions {
  readonly retention?: Partial<Retention> | undefined;
  /** All logs and seals together; a publish beyond it is refused as unavailable. */
  readonly maxTotalBytes?: number | undefined;
  /** The clock, in whole ms since the epoch. The default goes on as it is wherever the system's is set to. */
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

/**
 * Set back, the system's clock would stand still here until it is there again: nothing would expire, a channel whose second
 * is full would stay so, and the memory fill up. Set ahead, every log would expire.
 */
function steadyClock(): () => number {
  const originMs = Date.now() - performance.now();
  return () => Math.floor(originMs + performance.now());
}

interface Seal {
  readonly id: EntryId;
  readonly expiresAtMs: number;
}

class MemoryBroker implements Broker {
  readonly name = 'memory';
  readonly decisions = new MemoryDecisions(() => this.#tick());
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
    this.#now = options.now ?? steadyClock();
    this.#sweeper = setInterval(() => this.#sweep(this.#tick()), SWEEP_INTERVAL_MS).unref();
  }

  async publish(
    channel: ChannelKey,
    message: NewMessage,
    rate: PublishRate,
    whenIdle: WhenIdle = 'ended',
  ): Promise<PublishResult> {
    return this.#publishStep(channel, [message], rate, whenIdle)[0] as PublishResult;
  }

  async publishMany(
    channel: ChannelKey,
    messages: readonly NewMessage[],
    rate: PublishRate,
    whenIdle: WhenIdle = 'ended',
  ): Promise<PublishResult[]> {
    return publishInSteps(messages, rate, (step, stepRate) => this.#publishStep(channel, step, stepRate, whenIdle));
  }

  #publishStep(
    channel: ChannelKey,
    messages: readonly NewMessage[],
    rate: PublishRate,
    whenIdle: WhenIdle,
  ): PublishResult[] {
    const nowMs = this.#tick();
    let log = this.#log(channel, nowMs);
    let sealedBy = this.#sealedBy(channel, nowMs);
    let isCounted = rate.perSec === 0;
    const results: PublishResult[] = [];
    const onEntry = this.#listeners.get(channel);
    const heard: Entry[] = [];
    let isStored = false;
    try {
      for (const message of messages) {
        const id = log?.seen(message);
        if (id) {
          results.push({ kind: 'duplicate', id });
          continue;
        }
        if (sealedBy) {
          results.push({ kind: 'sealed', by: sealedBy });
          continue;
        }
        log ??= new MemoryLog(channel);
        const retryAfterMs = isCounted ? 0 : log.waitMs(rate, nowMs);
        if (retryAfterMs > 0) {
          while (results.length < messages.length) results.push({ kind: 'rate_limited', retryAfterMs });
          break;
        }
        this.#makeRoom(log.growthBytes(message.data.length), nowMs);
        if (!isCounted) log.count(rate, nowMs);
        isCounted ||= rate.counts !== 'messages';
        this.#append(log, message, nowMs);
        isStored = true;
        if (onEntry) heard.push(log.newest);
        if (log.isSealed) sealedBy = log.last;
        results.push({ kind: 'stored', id: log.last });
      }
    } finally {
      // What was stored before there was no more room is there for everybody, too.
      if (log && isStored) this.#settle(channel, log, whenIdle, nowMs);
      if (onEntry) for (const entry of heard) onEntry(entry);
    }
    return results;
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
      // Swept it would be, but for one before it that lives on.
      if (nowMs >= log.expiresAtMs) this.#drop(channel, log);
      else if (nowMs - entryIdMs(log.last) >= idleMs) idle.push([channel, log]);
    }
    for (const [channel, log] of idle) {
      this.#append(log, undefined, nowMs);
      const entry = log.newest;
      this.#settle(channel, log, 'ended', nowMs);
      this.#listeners.get(channel)?.(entry);
    }
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

  #append(log: MemoryLog, message: NewMessage | undefined, nowMs: number): void {
    const before = log.bytes;
    log.append(message, nowMs);
    this.#logBytes += log.bytes - before;
  }

  /** The end of a step in which something was appended to `log`, in one go: seals are last. */
  #settle(channel: ChannelKey, log: MemoryLog, whenIdle: WhenIdle, nowMs: number): void {
    const before = log.bytes;
    log.trim(this.#retention, nowMs);
    this.#logBytes += log.bytes - before;
    if (log.isSealed) {
      this.#open.delete(channel);
      this.#kept.delete(channel);
      log.expiresAtMs = nowMs + this.#retention.sealedTtlMs;
      this.#sealed.set(channel, log);
      this.#seals.set(channel, { id: log.last, expiresAtMs: log.expiresAtMs + SEAL_OUTLIVES_LOG_MS });
    } else {
      log.expiresAtMs = nowMs + this.#idleTtlMs;
      if (nowMs - log.movedMs >= MOVE_AFTER_MS) {
        log.movedMs = nowMs;
        const logs = whenIdle === 'kept' ? this.#kept : this.#open;
        logs.delete(channel);
        logs.set(channel, log);
      }
    }
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
