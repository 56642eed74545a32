import type { JsonObject } from '@bufbuild/protobuf';
import { BEFORE_ALL, compareEntryIds, type EntryId } from '#lib/broker/entry-id.ts';
import { Receipts, type Told } from '../support/checker.ts';
import { type LogEntry, LogView, type MayHaveExpired, type Promises } from './log-view.ts';

/**
 * Holds against each other: what Redis has of a channel in the end, what its publisher was promised, and what each of
 * its listeners got and was told. Every listener began at the beginning, whenever it came.
 */
export interface Verdict {
  /**
   * Acknowledged and in the log, or gone from it by Redis' clock, and a listener neither got it nor was told of a gap, a
   * reset or an expiry there.
   */
  readonly lost: number;
  /** In the log under two ids, acknowledged under two ids of the log, or received twice. */
  readonly double: number;
  /** Received after something later, or in the log in another order than it was published in. */
  readonly outOfOrder: number;
  /** In the log, and never acknowledged to anybody. */
  readonly unknown: number;
  /** The log has its END, and a listener never got that far. */
  readonly stuck: number;
  /** Received, and not what was published: joined text that is not that of messages one after the other, too. */
  readonly garbled: number;
}

export const FLAWLESS: Verdict = { lost: 0, double: 0, outOfOrder: 0, unknown: 0, stuck: 0, garbled: 0 };

/** What is nobody's fault here, and worth knowing. */
export interface Counts {
  readonly acknowledged: number;
  readonly received: number;
  /** Of these, in one with the message after them. */
  readonly joined: number;
  /** Acknowledged, and not in the log any more: what Redis lost. */
  readonly redisLost: number;
  /** Acknowledged, and gone with its log when Redis' clock was set ahead. */
  readonly expired: number;
  /** Received, and taken back by a Redis that went back in time. */
  readonly takenBack: number;
  /** Listeners whose END was taken back after they had it. */
  readonly endsTakenBack: number;
  readonly gaps: number;
  readonly resets: number;
  readonly expiries: number;
}

export const NO_COUNTS: Counts = {
  acknowledged: 0,
  received: 0,
  joined: 0,
  redisLost: 0,
  expired: 0,
  takenBack: 0,
  endsTakenBack: 0,
  gaps: 0,
  resets: 0,
  expiries: 0,
};

/** The sequences that a received message is made of, its own last; undefined if it can't be made of any. */
export type PartsOf = (payload: JsonObject | undefined, sequence: number) => readonly number[] | undefined;

export interface BookOptions {
  readonly onReceived: (id: string) => void;
  readonly partsOf: PartsOf;
}

/** One listener over all its connections: messages and controls in the order in which they came. */
export class Book extends Receipts {
  readonly name: string;
  readonly events: Event[] = [];
  hasEnded = false;
  readonly #onReceived: (id: string) => void;
  readonly #partsOf: PartsOf;

  constructor(channel: string, name: string, { onReceived, partsOf }: Partial<BookOptions> = {}) {
    super(channel);
    this.name = name;
    this.#onReceived = onReceived ?? (() => undefined);
    this.#partsOf = partsOf ?? ((_, sequence) => [sequence]);
  }

  override record(id: string, sequence: number, payload?: JsonObject): void {
    this.#onReceived(id);
    const parts = this.#partsOf(payload, sequence);
    this.events.push({ kind: 'message', id: id as EntryId, sequence, parts: parts ?? [sequence], isGarbled: !parts });
  }

  override control(told: Told): void {
    this.events.push({ kind: 'control', ...told });
  }
}

export type Event =
  | {
      readonly kind: 'message';
      readonly id: EntryId;
      readonly sequence: number;
      readonly parts: readonly number[];
      readonly isGarbled: boolean;
    }
  | ({ readonly kind: 'control' } & Told);

export interface Case {
  readonly log: readonly LogEntry[];
  readonly promises: Promises;
  readonly books: readonly Book[];
  /** Nothing may, by default. */
  readonly mayHaveExpired?: MayHaveExpired;
  /** What was acknowledged, as {@link acknowledgement} has it, in this order. Needed where something may have expired. */
  readonly acknowledged?: readonly string[];
  /** Redis loses nothing, so that a listener is told of whatever it misses, wherever that is now. */
  readonly losesNothing?: boolean;
}

/** An id alone says too little: a clock that is set back after a log expired gives the ids of that one again. */
export function acknowledgement(id: string, sequence: number): string {
  return `${sequence} at ${id}`;
}

export interface Judgement {
  readonly verdict: Verdict;
  readonly counts: Counts;
  /** Each flaw in words. */
  readonly flaws: readonly string[];
}

export function judge(options: Case): Judgement {
  const { log, promises, books, mayHaveExpired = () => false, acknowledged = [], losesNothing = false } = options;
  const view = new LogView(log, promises, mayHaveExpired);
  const order = new Map(acknowledged.map((one, n) => [one, n]));
  const expired = expiredOf(view, promises, mayHaveExpired, order);
  const flaws: string[] = [];
  const verdict = { ...FLAWLESS } as Mutable<Verdict>;
  const counts = { ...NO_COUNTS } as Mutable<Counts>;
  const find = (kind: keyof Verdict, words: string) => {
    verdict[kind] += 1;
    flaws.push(`${kind}: ${words}`);
  };

  judgeLog(view, promises, expired, goneOnce(view, books), counts, find);
  for (const book of books) {
    const findHere: Find = (kind, words) => find(kind, `${book.name}: ${words}`);
    if (losesNothing) judgeSilence(book, expired, order, findHere);
    judgeBook(book, view, mayHaveExpired, counts, findHere);
  }
  return { verdict, counts, flaws };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Find = (kind: keyof Verdict, words: string) => void;

/** Sequences that went with the log that they were in, before the one that there is, and where they were acknowledged. */
type Expired = ReadonlyMap<number, number>;

function expiredOf(
  log: LogView,
  promises: Promises,
  mayHaveExpired: MayHaveExpired,
  order: ReadonlyMap<string, number>,
): Expired {
  const [first] = log.entries;
  // Trimmed, the log does not say where it began.
  const begunAt =
    first?.prev === BEFORE_ALL ? (order.get(acknowledgement(first.id, first.sequence)) ?? 0) : Number.POSITIVE_INFINITY;
  const stored = new Set(log.entries.map(({ sequence }) => sequence));
  const placeOf = (id: string, sequence: number) => order.get(acknowledgement(id, sequence));
  const isExpired = (id: string, sequence: number) =>
    !log.stands(id as EntryId) && mayHaveExpired(id) && (placeOf(id, sequence) ?? Number.POSITIVE_INFINITY) < begunAt;
  const expired = new Map<number, number>();
  for (const [sequence, ids] of promises) {
    if (stored.has(sequence) || ![...ids].every((id) => isExpired(id, sequence))) continue;
    expired.set(sequence, Math.max(...[...ids].map((id) => placeOf(id, sequence) ?? 0)));
  }
  return expired;
}

/** Sequences that somebody received from where they stand no more. */
function goneOnce(log: LogView, books: readonly Book[]): ReadonlySet<number> {
  const gone = new Set<number>();
  for (const event of books.flatMap(({ events }) => events)) {
    if (event.kind === 'message' && !log.stands(event.id)) for (const sequence of event.parts) gone.add(sequence);
  }
  return gone;
}

function judgeLog(
  log: LogView,
  promises: Promises,
  expired: Expired,
  gone: ReadonlySet<number>,
  counts: Mutable<Counts>,
  find: Find,
): void {
  const stored = new Map<number, EntryId>();
  let latest = -1;
  for (const { id, sequence } of log.entries) {
    const ids = promises.get(sequence);
    if (ids === undefined) find('unknown', `${sequence} at ${id} was never acknowledged`);
    if (stored.has(sequence)) find('double', `${sequence} is stored at ${stored.get(sequence)} and ${id}`);
    stored.set(sequence, id);
    // What Redis had lost, or let expire, and was sent again stands behind what came meanwhile; also where nobody had been
    // told yet that it was stored.
    const isAgain = ids?.size !== 1 || gone.has(sequence);
    if (sequence < latest && !isAgain) find('outOfOrder', `${sequence} at ${id} is stored behind ${latest}`);
    latest = Math.max(latest, sequence);
  }
  for (const [sequence, ids] of promises) {
    counts.acknowledged += 1;
    const standing = [...ids].filter((id) => log.stands(id as EntryId));
    if (standing.length > 1) find('double', `${sequence} is acknowledged as ${standing.join(' and ')}`);
    if (expired.has(sequence)) counts.expired += 1;
    else if (standing.length === 0 && !stored.has(sequence)) counts.redisLost += 1;
  }
}

/**
 * From one message to the next without a word nothing that was acknowledged between them is left out. By the order of
 * acknowledgement: one that is published again after it has expired stands behind others then.
 */
function judgeSilence(book: Book, expired: Expired, order: ReadonlyMap<string, number>, find: Find): void {
  const received = new Set(book.events.flatMap((event) => (event.kind === 'message' ? event.parts : [])));
  const missing = [...expired].filter(([sequence]) => !received.has(sequence));
  let latest: number | undefined;
  for (const event of book.events) {
    if (event.kind === 'control') {
      latest = undefined;
      continue;
    }
    const place = order.get(acknowledgement(event.id, event.sequence));
    if (place === undefined) continue;
    for (const [sequence, at] of missing) {
      if (latest === undefined || at < latest || at > place) continue;
      find('lost', `${sequence}, since expired, was not received before ${event.id}: ${around(book, event.id)}`);
    }
    latest = place;
  }
}

function judgeBook(
  book: Book,
  log: LogView,
  mayHaveExpired: MayHaveExpired,
  counts: Mutable<Counts>,
  find: Find,
): void {
  /** Since the log went back last: what is delivered again after that was announced. */
  const got = new Set<string>();
  const idOf = new Map<number, EntryId>();
  /** Received, and nobody knows at which id. */
  const without = new Set<number>();
  const excused: Range[] = [];
  let at: EntryId = BEFORE_ALL;
  /** Since the log went back, or nowhere: what is next need not be later than what was. */
  let isAnew = false;
  let hasExpired = false;
  for (const event of book.events) {
    if (event.kind === 'message') {
      if (event.isGarbled) find('garbled', `${event.sequence} at ${event.id} is not what was published`);
      counts.joined += event.parts.length - 1;
      if (hasExpired) excused.push([BEFORE_ALL, event.id]);
      hasExpired = false;
      for (const sequence of event.parts) {
        const id: EntryId | undefined =
          sequence === event.sequence ? event.id : log.placeOf(sequence, isAnew ? BEFORE_ALL : at, event.id);
        counts.received += 1;
        if (id === undefined) {
          // It was taken back before it was acknowledged, or had expired by then.
          without.add(sequence);
          continue;
        }
        if (got.has(id)) find('double', `${sequence} was received twice at ${id}`);
        else if (!isAnew && compareEntryIds(id, at) <= 0) find('outOfOrder', `${sequence} at ${id} came after ${at}`);
        const other = idOf.get(sequence);
        if (!log.stands(id)) counts.takenBack += mayHaveExpired(id) ? 0 : 1;
        else if (other !== undefined && other !== id && log.stands(other)) {
          find('double', `${sequence} was received at ${other} and ${id}`);
        }
        // Also at an id that was taken back: it was received.
        if (other === undefined || log.stands(id)) idOf.set(sequence, id);
        got.add(id);
        [at, isAnew] = [id, false];
      }
      continue;
    }
    const cursor = event.cursor === '' ? BEFORE_ALL : (event.cursor as EntryId);
    switch (event.type) {
      case 'gap':
        counts.gaps += 1;
        excused.push([at, event.firstId as EntryId]);
        break;
      case 'reset':
        counts.resets += 1;
        excused.push(...upTo(cursor));
        got.clear();
        [at, isAnew] = [cursor, true];
        break;
      case 'expired':
        counts.expiries += 1;
        hasExpired = true;
        got.clear();
        [at, isAnew] = [cursor, true];
        break;
    }
  }
  // The last that it was told: it left, and a failover may have brought the log back since.
  if (hasExpired) excused.push(...upTo(at));
  if (!book.hasEnded && log.entries.length > 0)
    find('stuck', `at ${at}, and the log ends at ${log.entries.at(-1)?.id}`);
  const isExcused = (id: EntryId) =>
    excused.some(([after, before]) => {
      const isCursor = after === before && id === after;
      return isCursor || (compareEntryIds(id, after) > 0 && compareEntryIds(id, before) < 0);
    });
  // It heard an END that Redis took back: it listens no more, and nobody can tell it.
  const last = book.events.findLast((event) => event.kind === 'message');
  if (book.hasEnded && last !== undefined && !log.stands(last.id)) {
    counts.endsTakenBack += mayHaveExpired(last.id) ? 0 : 1;
    return;
  }
  for (const { id, sequence } of log.all) {
    // Of one that is stuck, what it would still have got is not told apart.
    if (!book.hasEnded && compareEntryIds(id, at) > 0) break;
    if (!idOf.has(sequence) && !without.has(sequence) && !isExcused(id))
      find('lost', `${sequence} at ${id} (after ${log.prevOf(id)}) was not received: ${around(book, id)}`);
  }
}

/** Both exclusive, but where they are the same. */
type Range = readonly [after: EntryId, before: EntryId];

/** Inclusive. */
function upTo(cursor: EntryId): Range[] {
  return [
    [BEFORE_ALL, cursor],
    [cursor, cursor],
  ];
}

/** What a listener got where it should have got an entry. */
function around({ events }: Book, id: EntryId): string {
  const next = events.findIndex((event) => event.kind === 'message' && compareEntryIds(event.id, id) > 0);
  const told = events.slice(Math.max(0, next - 3), next < 0 ? undefined : next + 2);
  return told
    .map((event) => (event.kind === 'message' ? `${event.sequence} at ${event.id}` : `${event.type} ${event.cursor}`))
    .join(', ');
}
