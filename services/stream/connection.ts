import type { Follower } from '#lib/broker/follow.ts';
import type { Delivery, Sink, Wire } from './delivery.ts';

/** A listener with more than this waiting is cut; it resumes by id. */
export const MAX_WAITING_BYTES = 1024 * 1024;
/** So is one that took nothing for so long. */
export const MAX_WITHOUT_DRAIN_MS = 30_000;

export interface ConnectionOptions<T> {
  readonly sink: Sink<T>;
  /** It understands `server_draining`, or has to ask for a new token anyway. Asked for when the server drains. */
  readonly wantsDrainNotice: () => boolean;
  /** It is over, however that came about. Called once. */
  readonly onOver: () => void;
}

/**
 * The connection to a listener, of one channel or of many: what is written to its sink, whether it keeps up, and how it
 * ends. It never waits for its reader: what can't be sent is counted, and cut when it is too much.
 */
export abstract class Connection<T> {
  protected readonly sink: Sink<T>;
  readonly #words: Pick<Wire<T>, 'opening' | 'heartbeat' | 'goodbye'>;
  readonly #options: ConnectionOptions<T>;
  /** Since when it has taken nothing, while something waits. */
  #fullSinceMs: number | undefined;
  /** What waited when that was last looked at. */
  #waitedBytes = 0;
  #drained: (() => void)[] = [];
  #opened = false;
  #spoke = false;
  #over = false;

  constructor(options: ConnectionOptions<T>, words: Pick<Wire<T>, 'opening' | 'heartbeat' | 'goodbye'>) {
    this.#options = options;
    this.#words = words;
    this.sink = options.sink;
    this.sink.onDrain = () => this.#onDrain();
    this.sink.onGone = () => this.#finish();
  }

  /**
   * Puts it on its channels. Nothing was written if this throws or answers `at_end`.
   * @returns `at_end` if there is nothing more to come.
   * @throws BrokerUnavailableError
   */
  abstract begin(follower: Follower<Delivery>): Promise<'following' | 'at_end'>;

  /** Takes it out of its channels. Called once. */
  protected abstract leave(): void;

  /** `server_draining`, in its words. */
  protected abstract drainNotice(): T;

  /** Answers, if nothing has been delivered yet: the client sees that it is connected. */
  open(): void {
    if (this.#opened) return;
    this.#opened = true;
    if (this.#words.opening === undefined) return;
    this.#spoke = true;
    this.write(this.#words.opening);
  }

  get isOpen(): boolean {
    return this.#opened;
  }

  get isOver(): boolean {
    return this.#over;
  }

  /** True until something was sent: some protocols don't even show their headers before. */
  get isSilent(): boolean {
    return !this.#spoke;
  }

  finish(reason: 'ended' | 'unavailable'): void {
    if (this.#over) return;
    this.open();
    if (reason === 'ended') this.sink.end();
    else this.sink.fail('unavailable');
    this.#finish();
  }

  congested(): Promise<void> | undefined {
    if (this.#fullSinceMs === undefined || this.#over) return undefined;
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  heartbeat(nowMs: number): void {
    if (this.#fullSinceMs !== undefined) {
      const { waitingBytes } = this.sink;
      if (waitingBytes < this.#waitedBytes) this.#fullSinceMs = nowMs;
      else if (nowMs - this.#fullSinceMs > MAX_WITHOUT_DRAIN_MS) this.#cut();
      this.#waitedBytes = waitingBytes;
      return;
    }
    this.say(this.#words.heartbeat);
  }

  /** Ends the response so that the client comes back and resumes: after `retryMs`, if it can be told that. */
  sendAway(draining: boolean, retryMs: number): void {
    if (this.#over) return;
    if (draining && this.#options.wantsDrainNotice()) this.write(this.drainNotice());
    const goodbye = this.#words.goodbye(retryMs);
    if (goodbye !== undefined) this.write(goodbye);
    if (this.#over) return;
    this.sink.end();
    this.#finish();
  }

  /** Ends it before it began: nothing was written, and nothing will be. */
  abandon(): void {
    this.#finish();
  }

  /** Writes, and is no longer silent. */
  protected say(chunk: T): void {
    this.#spoke = true;
    this.write(chunk);
  }

  protected write(chunk: T): void {
    this.open();
    if (this.#over) return;
    if (this.sink.write(chunk)) return;
    const { waitingBytes } = this.sink;
    if (this.#fullSinceMs === undefined) {
      this.#fullSinceMs = performance.now();
      this.#waitedBytes = waitingBytes;
    }
    if (waitingBytes > MAX_WAITING_BYTES) this.#cut();
  }

  #onDrain(): void {
    this.#fullSinceMs = undefined;
    this.#resume();
  }

  /** One after the other: together they would bring more than may wait. */
  readonly #resume = (): void => {
    if (this.#fullSinceMs !== undefined && !this.#over) return;
    this.#drained.shift()?.();
    if (this.#drained.length > 0) setImmediate(this.#resume);
  };

  #cut(): void {
    this.sink.fail('too_slow');
    this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.leave();
    this.#onDrain();
    this.#options.onOver();
  }
}
