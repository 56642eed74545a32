import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type Broker, BrokerUnavailableError, type Entry, type Tail } from './broker.ts';
import { textOf, WINDOW_MS } from './coalescing-testing.ts';
import { BEFORE_ALL, compareEntryIds, type EntryId } from './entry-id.ts';

/** Of letters. */
const PIECE = 5;

/**
 * A log of one channel that a test can let lose, delay and forget things in any order, with as much of a broker as
 * following needs. Text is a letter; `!` is none; with `pieces` it coalesces, and is read as pieces wherever it can be.
 */
export class UnreliableLog {
  /** All that was ever published, also what was lost or let go since. */
  readonly known = new Map<EntryId, Entry>();
  lostLive = false;
  away = false;
  answerMs = 0;
  /** What is published live and still under way, in its order; undefined: nothing takes any time. */
  late: Entry[] | undefined;
  listening = 0;
  hasRolledBack = false;
  hasExpired = false;
  hasTrimmed = false;
  readonly #retain: number;
  readonly #pieces: boolean;
  #entries: Entry[] = [];
  /** Of the entries those before are let go, apart from what a snapshot has of them. */
  #head = 0;
  #sealedBy: EntryId | undefined;
  #clockMs = 1_000_000;
  /** A log that was rolled back gives other ids than it gave before. */
  #era = 0;
  #hear: ((entry: Entry) => void) | undefined;
  #interrupted = () => {};

  constructor(retain: number, pieces: boolean) {
    this.#retain = retain;
    this.#pieces = pieces;
  }

  get isSealed(): boolean {
    return this.#sealedBy !== undefined;
  }

  publish(text: string, phase: Phase = Phase.DELTA): void {
    if (this.isSealed) return;
    const id = `${this.#clockMs++}-${this.#era}` as EntryId;
    const seals = phase === Phase.END;
    const coalesceMs = this.#pieces && text !== '!' ? WINDOW_MS : undefined;
    const data = Buffer.from(text);
    const entry: Entry = { id, prev: this.#last, kind: 'message', seals, data, coalesceMs };
    this.#entries.push(entry);
    this.known.set(id, entry);
    if (seals) this.#sealedBy = id;
    this.#head = Math.max(this.#head, this.#entries.length - this.#retain);
    this.hasTrimmed ||= this.#head > 0;
    if (this.lostLive) return;
    if (this.late === undefined) this.#hear?.(entry);
    else this.late.push(entry);
  }

  /** So many of those that are late arrive. */
  arrive(count: number): void {
    for (const entry of this.late?.splice(0, count) ?? []) this.#hear?.(entry);
    if (this.late?.length === 0) this.late = undefined;
  }

  /** Loses the last ones, as a failover. What comes next has later ids than they had, or ids between them. */
  rollBack(count: number, clockBack: boolean): void {
    const lost = this.#entries.splice(Math.max(this.#head + 1, this.#entries.length - count));
    if (lost.length === 0) return;
    if (lost.at(-1)?.id === this.#sealedBy) this.#sealedBy = undefined;
    if (clockBack) this.#clockMs = Number(lost[0]?.id.split('-')[0]);
    this.#era++;
    this.hasRolledBack = true;
  }

  /** All of it goes, but not that it was sealed. */
  expire(): void {
    this.#entries = [];
    this.#head = 0;
    this.#era++;
    this.hasExpired = true;
    this.late = undefined;
  }

  interrupt(): void {
    this.#interrupted();
  }

  get broker(): Broker {
    const part: Pick<Broker, 'read' | 'tails' | 'listen' | 'onInterruption'> = {
      read: (_, after, limit) => this.#answer(() => ({ entries: this.#read(after).slice(0, limit), tail: this.#tail })),
      tails: (channels) => this.#answer(() => channels.map(() => this.#tail)),
      listen: async (_, onEntry) => {
        await this.#answer(() => undefined);
        if (this.#hear !== undefined) throw new Error('this channel is listened to already');
        this.#hear = onEntry;
        this.listening++;
        return () => {
          if (this.#hear !== onEntry) return;
          this.#hear = undefined;
          this.listening--;
        };
      },
      onInterruption: (callback) => {
        this.#interrupted = callback;
      },
    };
    return part as Broker;
  }

  get #last(): EntryId {
    return this.#entries.at(-1)?.id ?? BEFORE_ALL;
  }

  get #tail(): Tail {
    return { last: this.#last, sealedBy: this.#sealedBy };
  }

  #read(after: EntryId): Entry[] {
    const retained = this.#entries.slice(this.#head).filter(({ id }) => compareEntryIds(id, after) > 0);
    if (!this.#pieces) return retained;
    const pieces: Entry[] = [];
    let place = 0;
    for (const entry of this.#entries) {
      const before = pieces.at(-1);
      const joins = before?.coalesceMs !== undefined && entry.coalesceMs !== undefined && place % PIECE !== 0;
      place = entry.coalesceMs === undefined ? 0 : place + 1;
      if (!joins) pieces.push(entry);
      else pieces[pieces.length - 1] = { ...entry, prev: before.prev, data: Buffer.concat([before.data, entry.data]) };
    }
    // One by one up to where a piece begins.
    const next = pieces.findIndex(({ prev }) => compareEntryIds(prev, after) >= 0);
    const begins = pieces[next]?.prev;
    if (begins === undefined) return retained;
    return [...retained.filter(({ id }) => compareEntryIds(id, begins) <= 0), ...pieces.slice(next)];
  }

  async #answer<T>(value: () => T): Promise<T> {
    if (this.away) throw new BrokerUnavailableError('away');
    // As it was when it was asked; the answer takes its time.
    const answer = value();
    if (this.answerMs > 0) await new Promise((resolve) => setTimeout(resolve, this.answerMs));
    return answer;
  }
}

/** The text between two ids, by the chain of all that was ever published. */
export function textBetween(known: ReadonlyMap<EntryId, Entry>, prev: EntryId, id: EntryId): string {
  let text = '';
  for (let at = id; at !== prev; ) {
    const entry = known.get(at);
    if (entry === undefined) throw new Error(`${prev} does not come before ${id}`);
    text = textOf(entry) + text;
    at = entry.prev;
  }
  return text;
}
