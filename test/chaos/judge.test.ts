import type { JsonObject } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { BEFORE_ALL, type EntryId } from '#lib/broker/entry-id.ts';
import { acknowledgement, Book, FLAWLESS, judge } from './judge.ts';
import type { LogEntry } from './log-view.ts';
import { Random } from './random.ts';
import { partsOf, type Wording, wordingFor } from './wording.ts';

/** The nth message is at 100-<n>, and says <n>. */
const id = (n: number) => `100-${n}` as EntryId;

function logOf(...numbers: number[]): LogEntry[] {
  return numbers.map((n, at) => ({ id: id(n), prev: at === 0 ? BEFORE_ALL : id(numbers[at - 1] ?? 0), sequence: n }));
}

function promisesOf(...numbers: number[]): Map<number, Set<string>> {
  return new Map(numbers.map((n) => [n, new Set([id(n)])]));
}

function bookOf(...events: (number | [type: string, cursor: string, firstId?: string])[]): Book {
  const book = new Book('channel', 'somebody');
  for (const event of events) {
    if (typeof event === 'number') book.record(id(event), event);
    else book.control({ type: event[0], cursor: event[1], firstId: event[2] ?? '' });
  }
  book.hasEnded = true;
  return book;
}

const log = logOf(1, 2, 3, 4);
const promises = promisesOf(1, 2, 3, 4);

function verdictOn(book: Book) {
  return judge({ log, promises, books: [book] }).verdict;
}

describe('the judge of failure tests', () => {
  test('finds no fault with each message once, in order', () => {
    const judgement = judge({ log, promises, books: [bookOf(1, 2, 3, 4)] });
    expect(judgement).toMatchObject({ verdict: FLAWLESS, flaws: [], counts: { acknowledged: 4, received: 4 } });
  });

  test('finds what is lost, double and out of order', () => {
    expect(verdictOn(bookOf(1, 3, 4))).toEqual({ ...FLAWLESS, lost: 1 });
    expect(verdictOn(bookOf(1, 2, 2, 3, 4))).toEqual({ ...FLAWLESS, double: 1 });
    expect(verdictOn(bookOf(1, 3, 2, 4))).toEqual({ ...FLAWLESS, outOfOrder: 1 });
  });

  test('finds one that never came to the end, and does not count what is missing there', () => {
    const book = bookOf(1, 2);
    book.hasEnded = false;
    expect(verdictOn(book)).toEqual({ ...FLAWLESS, stuck: 1 });
  });

  test('a gap excuses what is in it, and nothing else', () => {
    expect(verdictOn(bookOf(1, ['gap', id(1), id(4)], 4))).toEqual(FLAWLESS);
    expect(verdictOn(bookOf(['gap', '', id(2)], 2, 4))).toEqual({ ...FLAWLESS, lost: 1 });
  });

  test('a reset excuses what is up to where it goes on, and what was received and taken back', () => {
    const judgement = judge({ log, promises, books: [bookOf(1, 9, ['reset', id(2)], 3, 4)] });
    expect(judgement).toMatchObject({ verdict: FLAWLESS, counts: { takenBack: 1, resets: 1 } });
    expect(verdictOn(bookOf(1, 9, ['reset', id(2)], 4))).toEqual({ ...FLAWLESS, lost: 1 });
  });

  test('what a reset takes back may come again', () => {
    expect(verdictOn(bookOf(1, 2, 3, ['reset', id(2)], 3, 4))).toEqual(FLAWLESS);
  });

  test('an expiry excuses what is before the next message', () => {
    expect(verdictOn(bookOf(1, ['expired', ''], 3, 4))).toEqual(FLAWLESS);
    expect(verdictOn(bookOf(1, ['expired', ''], 2, 4))).toEqual({ ...FLAWLESS, lost: 1 });
  });

  test('what was trimmed is neither lost by Redis nor expected of who was told', () => {
    const trimmed = log.slice(2);
    const judgement = judge({ log: trimmed, promises, books: [bookOf(['gap', '', id(3)], 3, 4), bookOf(1, 2, 3, 4)] });
    expect(judgement).toMatchObject({ verdict: FLAWLESS, counts: { redisLost: 0, takenBack: 0 } });
    expect(judge({ log: trimmed, promises, books: [bookOf(1, 3, 4)] }).verdict).toEqual({ ...FLAWLESS, lost: 1 });
  });

  test('counts apart what Redis lost', () => {
    const judgement = judge({ log: logOf(1, 2, 4), promises, books: [bookOf(1, 2, 3, 4)] });
    expect(judgement).toMatchObject({ verdict: FLAWLESS, counts: { redisLost: 1, takenBack: 1 } });
  });

  test('expects nothing more of one whose END was taken back', () => {
    const judgement = judge({ log, promises, books: [bookOf(1, 2, 9)] });
    expect(judgement).toMatchObject({ verdict: FLAWLESS, counts: { takenBack: 1, endsTakenBack: 1 } });
  });

  test('finds a message that is stored twice, or acknowledged twice', () => {
    const twice = [...log, { id: id(5), prev: id(4), sequence: 4 }];
    expect(judge({ log: twice, promises, books: [] }).verdict).toEqual({ ...FLAWLESS, double: 1 });
    const acknowledgedTwice = new Map(promises).set(4, new Set([id(3), id(4)]));
    expect(judge({ log, promises: acknowledgedTwice, books: [] }).verdict).toEqual({ ...FLAWLESS, double: 1 });
  });

  test('finds a log in another order than it was published in, and what nobody was promised', () => {
    const swapped = [
      { id: id(1), prev: BEFORE_ALL, sequence: 2 },
      { id: id(2), prev: id(1), sequence: 1 },
    ];
    const both = new Map([
      [1, new Set([id(2)])],
      [2, new Set([id(1)])],
    ]);
    expect(judge({ log: swapped, promises: both, books: [] }).verdict).toEqual({ ...FLAWLESS, outOfOrder: 1 });
    expect(judge({ log, promises: promisesOf(1, 2, 3), books: [] }).verdict).toEqual({ ...FLAWLESS, unknown: 1 });
  });
});

/** The clock leapt after `100-2` was there; a log that began anew since has what came then, at `100-<n>` as well. */
function judgeLeap({
  newLog,
  books,
  losesNothing = true,
}: {
  newLog: LogEntry[];
  books: Book[];
  losesNothing?: boolean;
}) {
  const acknowledged = [1, 2, 3, 4].map((n) => acknowledgement(id(n), n));
  const mayHaveExpired = (seen: string) => seen === id(1) || seen === id(2);
  return judge({ log: newLog, promises, books, mayHaveExpired, acknowledged, losesNothing });
}

describe('a clock that leapt', () => {
  test('what expired with its log is counted apart, and who was away is told', () => {
    const books = [bookOf(1, 2, ['expired', ''], 3, 4), bookOf(1, ['expired', ''], 3, 4), bookOf(3, 4)];
    const judgement = judgeLeap({ newLog: logOf(3, 4), books });
    expect(judgement).toMatchObject({
      verdict: FLAWLESS,
      flaws: [],
      counts: { expired: 2, redisLost: 0, takenBack: 0 },
    });
  });

  test('who was told that everything up to the seal has expired misses nothing, though a failover brings it back', () => {
    const books = [bookOf(['expired', id(4)]), bookOf(1, 2, ['expired', id(4)]), bookOf(1, 2, 4)];
    expect(judgeLeap({ newLog: log, books }).verdict).toEqual({ ...FLAWLESS, lost: 1 });
  });

  test('who is told nothing has lost what expired', () => {
    expect(judgeLeap({ newLog: logOf(3, 4), books: [bookOf(1, 3, 4)] }).verdict).toEqual({ ...FLAWLESS, lost: 1 });
    // Where a failover may have taken it back nobody could tell.
    expect(judgeLeap({ newLog: logOf(3, 4), books: [bookOf(1, 3, 4)], losesNothing: false }).verdict).toEqual(FLAWLESS);
  });

  test('a log that is gone altogether has expired, as far as it may have', () => {
    const books = [bookOf(1, 2, 3, 4)];
    expect(judgeLeap({ newLog: [], books }).counts).toMatchObject({ expired: 2, redisLost: 2, endsTakenBack: 1 });
  });

  test('what is missing within the log that began anew is lost by Redis', () => {
    const acknowledged = [1, 2, 3, 4].map((n) => acknowledgement(id(n), n));
    const judgement = judge({ log: logOf(1, 3, 4), promises, books: [], mayHaveExpired: () => true, acknowledged });
    expect(judgement.counts).toMatchObject({ expired: 0, redisLost: 1 });
  });

  test('a log whose ids were those of one before is not taken for it', () => {
    const ids = new Map([1, 2, 3, 4, 5].map((n) => [n, new Set([id([1, 2, 3, 1, 9][n - 1] ?? 0)])]));
    const newLog = [
      { id: id(1), prev: BEFORE_ALL, sequence: 4 },
      { id: id(9), prev: id(1), sequence: 5 },
    ];
    const acknowledged = [...ids].map(([n, [one]]) => acknowledgement(one ?? '', n));
    const book = bookOf(1, ['expired', '']);
    book.record(id(1), 4);
    book.record(id(9), 5);
    const options = { promises: ids, mayHaveExpired: () => true, acknowledged, losesNothing: true };
    expect(judge({ ...options, log: newLog, books: [book] }).verdict).toEqual(FLAWLESS);
  });

  test('what expired before its publisher was answered may stand behind what came meanwhile', () => {
    // 2 was at 100-2, and heard there; 3 began a new log, and 2 was sent again.
    const newLog = [
      { id: id(5), prev: BEFORE_ALL, sequence: 3 },
      { id: id(6), prev: id(5), sequence: 2 },
    ];
    const later = new Map([
      [1, new Set([id(1)])],
      [2, new Set([id(6)])],
      [3, new Set([id(5)])],
    ]);
    const heard = bookOf(1, 2, ['expired', '']);
    heard.record(id(5), 3);
    heard.record(id(6), 2);
    const mayHaveExpired = (seen: string) => seen === id(1) || seen === id(2);
    const judged = { log: newLog, promises: later, mayHaveExpired, acknowledged: [acknowledgement(id(1), 1)] };
    expect(judge({ ...judged, books: [heard] }).verdict).toEqual(FLAWLESS);
    expect(judge({ ...judged, books: [] }).verdict).toEqual({ ...FLAWLESS, outOfOrder: 1 });
  });

  test('what was acknowledged again after it had expired is not double', () => {
    const again = new Map(promises).set(2, new Set([id(2), id(3)])).set(3, new Set([id(4)]));
    again.delete(4);
    const newLog = [
      { id: id(3), prev: BEFORE_ALL, sequence: 2 },
      { id: id(4), prev: id(3), sequence: 3 },
    ];
    const mayHaveExpired = (seen: string) => seen === id(1) || seen === id(2);
    const judgement = judge({
      log: newLog,
      promises: again,
      books: [],
      mayHaveExpired,
      acknowledged: [
        acknowledgement(id(1), 1),
        acknowledgement(id(2), 2),
        acknowledgement(id(3), 2),
        acknowledgement(id(4), 3),
      ],
    });
    expect(judgement).toMatchObject({ verdict: FLAWLESS, counts: { expired: 1, redisLost: 0 } });
  });
});

/** Text that came together: the sequences of each message that was received, whose id is that of its last. */
function bookOfParts(...messages: (number[] | [type: string, cursor: string])[]): Book {
  const parts = new Map(messages.map((message) => [message.at(-1), message]));
  const book = new Book('channel', 'somebody', {
    partsOf: (_, sequence) => parts.get(sequence) as number[] | undefined,
  });
  for (const message of messages) {
    const last = message.at(-1);
    if (typeof last === 'number') book.record(id(last), last);
    else book.control({ type: String(message[0]), cursor: String(last), firstId: '' });
  }
  book.hasEnded = true;
  return book;
}

describe('text that came together', () => {
  test('counts as the messages that it is made of', () => {
    const judgement = judge({ log, promises, books: [bookOfParts([1], [2, 3], [4])] });
    expect(judgement).toMatchObject({ verdict: FLAWLESS, flaws: [], counts: { received: 4, joined: 1 } });
  });

  test('one that is left out, that is there twice, or that stands elsewhere', () => {
    expect(verdictOn(bookOfParts([1], [3], [4]))).toEqual({ ...FLAWLESS, lost: 1 });
    expect(verdictOn(bookOfParts([1, 2], [2, 3], [4]))).toEqual({ ...FLAWLESS, double: 1 });
    expect(verdictOn(bookOfParts([2, 1, 3], [4])).outOfOrder).toBe(1);
  });

  test('after a reset what is joined may hold what was received before', () => {
    expect(verdictOn(bookOfParts([1, 2], ['reset', id(1)], [2, 3, 4]))).toEqual(FLAWLESS);
  });

  test('what was never acknowledged and is not in the log was taken back', () => {
    expect(verdictOn(bookOfParts([1, 9, 2], [3, 4]))).toEqual(FLAWLESS);
  });

  test('what came joined and was taken back is not looked for where the log has it since', () => {
    // Read at 100-9, joined with one that nobody acknowledged; both were said again to a Redis whose clock is behind.
    const book = new Book('channel', 'somebody', { partsOf: (joined, sequence) => (joined ? [2, 3] : [sequence]) });
    book.record(id(7), 1);
    book.record(id(9), 3, {});
    book.control({ type: 'reset', cursor: '', firstId: '' });
    for (const n of [1, 2]) book.record(id(n), n);
    book.record(id(3), 3);
    book.record(id(4), 4);
    book.hasEnded = true;
    expect(verdictOn(book)).toEqual(FLAWLESS);
  });

  test('what nobody published is found', () => {
    const book = new Book('channel', 'somebody', { partsOf: () => undefined });
    book.record(id(1), 1);
    expect(judge({ log: logOf(1), promises: promisesOf(1), books: [book] }).verdict).toEqual({
      ...FLAWLESS,
      stuck: 1,
      garbled: 1,
    });
  });
});

describe('the words of a stream', () => {
  const plain: Wording = { ...wordingFor(new Random(1)), coalesceWindowMs: undefined };
  const coalescing = () => {
    for (let seed = 1; ; seed += 1) {
      const wording = wordingFor(new Random(seed));
      if (wording.coalesceWindowMs !== undefined) return wording;
    }
  };
  const text = (wording: Wording, sequence: number) => String(wording.payloadOf(sequence)['text']);

  test('a message is made of itself, and joined text of what is in it', () => {
    const wording = coalescing();
    expect(partsOf(wording.payloadOf(7), 7, wording)).toEqual([7]);
    const joined = text(wording, 7) + text(wording, 8) + text(wording, 9);
    expect(partsOf({ text: joined }, 9, wording)).toEqual([7, 8, 9]);
  });

  test('nothing else is', () => {
    const wording = coalescing();
    const joined = text(wording, 7) + text(wording, 8);
    const others: [JsonObject | undefined, number][] = [
      [undefined, 8],
      [{ text: joined }, 9],
      [{ text: joined.slice(0, -1) }, 8],
      [{ text: `${joined}x` }, 8],
      [{ thought: joined }, 8],
      [{ text: joined, final: true }, 8],
      // 5 is not text alone, 24 has another name.
      [{ text: text(wording, 4) + text(wording, 5) }, 5],
      [{ text: text(wording, 22) + wording.payloadOf(24)['thought'] }, 24],
    ];
    for (const [payload, sequence] of others) expect(partsOf(payload, sequence, wording)).toBeUndefined();
    const sentences = text(plain, 7) + text(plain, 8);
    expect(partsOf({ text: sentences }, 8, plain)).toBeUndefined();
  });
});
