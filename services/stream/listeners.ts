import { BrokerUnavailableError } from '#lib/broker/broker.ts';
import type { Follower } from '#lib/broker/follow.ts';
import { Refusal } from '#lib/server/refusal.ts';
import type { Connection, ConnectionOptions } from './connection.ts';
import type { Delivery } from './delivery.ts';
import { Listener, type ListenerOptions } from './listener.ts';

/** How often an idle listener hears something. The edge's idle timeout for streams is three times this. */
export const KEEP_ALIVE_SEC = 15;
/** Reconnects after a drain or an age limit spread over this. */
const RETRY_MIN_MS = 250;
const RETRY_SPREAD_MS = 2_750;
const AGE_JITTER = 0.2;
const DRAIN_STEP_MS = 50;

export interface ListenersOptions {
  readonly follower: Follower<Delivery>;
  /** Ends connections of this age, less up to a fifth so that they don't end together. 0: never. */
  readonly maxConnectionMs: number;
  /** More are refused. */
  readonly maxListeners: number;
}

export type Joining<T> = Omit<ListenerOptions<T>, 'onOver'>;

/** A listener of any wire: the registry never looks at what they send. */
type AnyListener = Pick<Connection<unknown>, 'heartbeat' | 'sendAway' | 'isSilent'>;

/**
 * All listeners of a process. One wheel of one-second slots keeps them alive: each stands in one slot, so that keep-alives
 * are spread over the time and no listener has a timer of its own.
 */
export class Listeners {
  readonly #options: ListenersOptions;
  readonly #wheel: Set<AnyListener>[] = Array.from({ length: KEEP_ALIVE_SEC }, () => new Set());
  /** Those that get a first sign of life within a second, if their channel has none for them. */
  #silent = new Set<AnyListener>();
  /** By the turn at which they are to end for their age. */
  readonly #ending = new Map<number, Set<AnyListener>>();
  readonly #timer: NodeJS.Timeout;
  #turn = 0;
  #count = 0;
  #draining = false;

  constructor(options: ListenersOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#onTurn(), 1000);
    this.#timer.unref();
  }

  get count(): number {
    return this.#count;
  }

  /**
   * Puts a listener on its channel. Nothing is written to the sink if this throws or answers `at_end`.
   * @returns `at_end` if the cursor is the end of a sealed channel.
   * @throws Refusal `broker_away`, `draining`, `too_many_listeners`.
   */
  join<T>(joining: Joining<T>): Promise<'following' | 'at_end'> {
    return this.admit(joining, (options) => new Listener({ ...joining, ...options }));
  }

  /** The same for whatever listens. */
  async admit<T>(
    { sink, wantsDrainNotice }: Omit<ConnectionOptions<T>, 'onOver'>,
    make: (options: ConnectionOptions<T>) => Connection<T>,
  ): Promise<'following' | 'at_end'> {
    if (this.#draining) throw new Refusal('draining');
    if (this.#count >= this.#options.maxListeners) throw new Refusal('too_many_listeners');
    this.#count++;
    /** Known once it has begun, which may take long. */
    let endsAtTurn: number | undefined;
    const slot = this.#turn % KEEP_ALIVE_SEC;
    const listener = make({
      sink,
      wantsDrainNotice,
      onOver: () => {
        this.#count--;
        this.#wheel[slot]?.delete(listener);
        this.#silent.delete(listener);
        if (endsAtTurn !== undefined) this.#ending.get(endsAtTurn)?.delete(listener);
      },
    });
    try {
      if ((await listener.begin(this.#options.follower)) === 'at_end') {
        listener.abandon();
        return 'at_end';
      }
    } catch (error) {
      listener.abandon();
      if (error instanceof BrokerUnavailableError)
        throw new Refusal('broker_away', { text: 'Broker away', cause: error });
      throw error;
    }
    // It went while its token was checked.
    if (sink.isGone) listener.abandon();
    if (listener.isOver) return 'following';
    this.#wheel[slot]?.add(listener);
    endsAtTurn = this.#endsAtTurn();
    if (endsAtTurn !== undefined) this.#endAt(endsAtTurn, listener);
    listener.open();
    if (listener.isSilent) this.#silent.add(listener);
    // The server may have begun to drain while the broker answered.
    if (this.#draining) listener.sendAway(true, retryMs());
    return 'following';
  }

  /** Sends everybody away, in random order, spread evenly over `spreadMs`. Who joins meanwhile is refused. */
  async drain(spreadMs: number): Promise<void> {
    this.#draining = true;
    const leaving = shuffled(this.#wheel.flatMap((slot) => [...slot]));
    const all = leaving.length;
    const steps = Math.max(1, Math.ceil(spreadMs / DRAIN_STEP_MS));
    const perStep = Math.max(1, Math.ceil(all / steps));
    const fromMs = performance.now();
    while (leaving.length > 0) {
      // Steps of a busy process take longer than they should: by the clock, or the last would be cut.
      const leftMs = Math.max(0, spreadMs - DRAIN_STEP_MS - (performance.now() - fromMs));
      const late = leaving.length - Math.ceil((all * leftMs) / Math.max(spreadMs, 1));
      // Also text that waits for its window: who leaves has all that there was.
      this.#options.follower.deliverDue();
      for (const listener of leaving.splice(0, Math.max(perStep, late))) listener.sendAway(true, retryMs());
      if (leaving.length > 0) await new Promise((resolve) => setTimeout(resolve, DRAIN_STEP_MS));
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#options.follower.close();
  }

  #onTurn(): void {
    this.#turn++;
    const nowMs = performance.now();
    for (const listener of this.#wheel[this.#turn % KEEP_ALIVE_SEC] ?? []) listener.heartbeat(nowMs);
    const silent = this.#silent;
    this.#silent = new Set();
    for (const listener of silent) if (listener.isSilent) listener.heartbeat(nowMs);
    const ending = this.#ending.get(this.#turn);
    this.#ending.delete(this.#turn);
    for (const listener of ending ?? []) listener.sendAway(false, retryMs());
  }

  #endsAtTurn(): number | undefined {
    const { maxConnectionMs } = this.#options;
    if (maxConnectionMs === 0) return undefined;
    const lifeMs = maxConnectionMs * (1 - Math.random() * AGE_JITTER);
    return this.#turn + Math.max(1, Math.round(lifeMs / 1000));
  }

  #endAt(turn: number, listener: AnyListener): void {
    let ending = this.#ending.get(turn);
    if (ending === undefined) {
      ending = new Set();
      this.#ending.set(turn, ending);
    }
    ending.add(listener);
  }
}

/** How long those who are sent away wait before they come back: spread, so that they don't come back together. */
function retryMs(): number {
  return Math.round(RETRY_MIN_MS + Math.random() * RETRY_SPREAD_MS);
}

function shuffled<T>(items: T[]): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [items[i], items[j]] = [items[j] as T, items[i] as T];
  }
  return items;
}
