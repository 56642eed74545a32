import { BEFORE_ALL, type EntryId } from '#lib/broker/entry-id.ts';
import type { Notice, Reader } from '#lib/broker/follow.ts';
import type { Delivery, Sink, Wire } from './delivery.ts';

/** A listener with more than this waiting is cut; it resumes by id. */
export const MAX_WAITING_BYTES = 1024 * 1024;
/** So is one that took nothing for so long. */
export const MAX_WITHOUT_DRAIN_MS = 30_000;

export interface ListenerOptions<T> {
  readonly wire: Wire<T>;
  readonly sink: Sink<T>;
  /** Where it resumes; undefined: from the oldest entry. */
  readonly cursor: EntryId | undefined;
  /** It understands `server_draining`, or has to ask for a new token anyway. Asked for when the server drains. */
  readonly wantsDrainNotice: () => boolean;
  /** It is over, however that came about. Called once. */
  readonly onOver: () => void;
}

/**
 * One listener: takes what its channel's feed delivers and writes it to its sink in its wire format. It never waits for
 * its reader: what can't be sent is counted, and cut when it is too much.
 */
export class Listener<T> implements Reader<Delivery> {
  readonly #wire: Wire<T>;
  readonly #sink: Sink<T>;
  readonly #options: ListenerOptions<T>;
  #cursor: EntryId | undefined;
  #fullSinceMs: number | undefined;
  #drained: (() => void)[] = [];
  #opened = false;
  #spoke = false;
  #over = false;
  /** Takes it out of its channel's feed. Set once it is in. */
  leaveFeed: () => void = () => {};

  constructor(options: ListenerOptions<T>) {
    this.#options = options;
    this.#wire = options.wire;
    this.#sink = options.sink;
    this.#cursor = options.cursor;
    this.#sink.onDrain = () => this.#onDrain();
    this.#sink.onGone = () => this.#finish();
  }

  /** Answers, if nothing has been delivered yet: the client sees that it is connected. */
  open(): void {
    if (this.#opened) return;
    this.#opened = true;
    if (this.#wire.opening === undefined) return;
    this.#spoke = true;
    this.#write(this.#wire.opening);
  }

  get isOver(): boolean {
    return this.#over;
  }

  /** True until something was sent: some protocols don't even show their headers before. */
  get isSilent(): boolean {
    return !this.#spoke;
  }

  deliver(delivery: Delivery): void {
    this.#cursor = delivery.entry.id;
    this.#spoke = true;
    this.#write(delivery.encodedFor(this.#wire));
  }

  control(notice: Notice, cursor: EntryId | undefined): void {
    this.#cursor = cursor === BEFORE_ALL ? undefined : cursor;
    this.#spoke = true;
    this.#write(this.#wire.control(notice, this.#cursor));
  }

  finish(reason: 'ended' | 'unavailable'): void {
    if (this.#over) return;
    this.open();
    if (reason === 'ended') this.#sink.end();
    else this.#sink.fail('unavailable');
    this.#finish();
  }

  congested(): Promise<void> | undefined {
    if (this.#fullSinceMs === undefined || this.#over) return undefined;
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  heartbeat(nowMs: number): void {
    if (this.#fullSinceMs !== undefined) {
      if (nowMs - this.#fullSinceMs > MAX_WITHOUT_DRAIN_MS) this.#cut();
      return;
    }
    this.#spoke = true;
    this.#write(this.#wire.heartbeat);
  }

  /** Ends the response so that the client comes back and resumes: after `retryMs`, if it can be told that. */
  sendAway(draining: boolean, retryMs: number): void {
    if (this.#over) return;
    if (draining && this.#options.wantsDrainNotice()) {
      this.#write(this.#wire.control({ type: 'server_draining' }, this.#cursor));
    }
    const goodbye = this.#wire.goodbye(retryMs);
    if (goodbye !== undefined) this.#write(goodbye);
    if (this.#over) return;
    this.#sink.end();
    this.#finish();
  }

  /** Ends it before it began: nothing was written, and nothing will be. */
  abandon(): void {
    this.#finish();
  }

  #write(chunk: T): void {
    this.open();
    if (this.#over) return;
    if (this.#sink.write(chunk)) return;
    this.#fullSinceMs ??= performance.now();
    if (this.#sink.waitingBytes > MAX_WAITING_BYTES) this.#cut();
  }

  #onDrain(): void {
    this.#fullSinceMs = undefined;
    const waiting = this.#drained;
    this.#drained = [];
    for (const resume of waiting) resume();
  }

  #cut(): void {
    this.#sink.fail('too_slow');
    this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.leaveFeed();
    this.#onDrain();
    this.#options.onOver();
  }
}
