import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { BrokerUnavailableError, channelKey, type Entry } from './broker.ts';
import { textOf } from './coalescing-testing.ts';
import { BEFORE_ALL, type EntryId } from './entry-id.ts';
import { Follower, type Notice, type Reader } from './follow.ts';
import { textBetween, UnreliableLog } from './follow-log-testing.ts';

// Whatever is lost, late, rolled back, trimmed or gone, and whoever comes, goes and is slow: what a reader hears is a
// chain, and where it has a hole a notice stands right there.

const CHANNEL = channelKey(1n, '97f58c19-ce38-4c6b-8a5b-47f3405691f0');

interface Said {
  readonly prev: EntryId;
  readonly id: EntryId;
  readonly text: string;
  readonly joins: boolean;
}

const share = (entry: Entry): Said[] => {
  const { prev, id } = entry;
  return [{ prev, id, text: textOf(entry), joins: entry.coalesceMs !== undefined }];
};

function together(shared: readonly Said[][]): Said[][] {
  const joined: Said[] = [];
  for (const said of shared.flat()) {
    const before = joined.at(-1);
    if (!before?.joins || !said.joins) joined.push(said);
    else joined[joined.length - 1] = { ...said, prev: before.prev, text: before.text + said.text };
  }
  return [joined];
}

/** Holds what it is told against what there is, at once. */
class Checker implements Reader<Said[]> {
  finished: string | undefined;
  left = false;
  /** Known once it follows: a little after the first that it is told. */
  leave: (() => void) | undefined;
  leavesAt: number | undefined;
  busyMs = 0;
  heard: string[] = [];
  readonly #log: UnreliableLog;
  readonly #seen = new Set<EntryId>();
  #at: EntryId;
  #gapTo: EntryId | undefined;

  constructor(log: UnreliableLog, cursor: EntryId | undefined) {
    this.#log = log;
    this.#at = cursor ?? BEFORE_ALL;
  }

  deliver(list: Said[]): void {
    for (const { prev, id, text } of list) {
      this.heard.push(`${prev}>${id}`);
      this.#is(!this.#isOver, 'delivered after the end');
      this.#is(this.#gapTo === undefined ? prev === this.#at : id === this.#gapTo || this.#gapTo < id, 'a hole');
      this.#is(!this.#seen.has(id), 'twice');
      this.#is(textBetween(this.#log.known, prev, id) === text, 'other text');
      this.#seen.add(id);
      this.#gapTo = undefined;
      this.#at = id;
    }
    if (this.leavesAt !== undefined && this.heard.length >= this.leavesAt) this.go();
  }

  control(notice: Notice, cursor: EntryId | undefined): void {
    this.heard.push(`${notice.type} ${cursor}`);
    this.#is(!this.#isOver, 'told after the end');
    this.#is(this.#gapTo === undefined, 'a gap before nothing');
    const { hasExpired, hasRolledBack, hasTrimmed } = this.#log;
    const hasCause = { gap: hasTrimmed, expired: hasExpired, reset: hasRolledBack || hasExpired };
    this.#is(hasCause[notice.type], 'told without a cause');
    if (notice.type === 'gap') {
      this.#is((cursor ?? BEFORE_ALL) === this.#at, 'a gap moves nobody');
      this.#gapTo = notice.firstId;
    } else {
      this.#is((cursor ?? BEFORE_ALL) !== this.#at, `${notice.type} where it stands already`);
      this.#at = cursor ?? BEFORE_ALL;
    }
  }

  finish(reason: string): void {
    this.heard.push(reason);
    this.#is(this.finished === undefined, 'finished twice');
    this.finished = reason;
  }

  congested(): Promise<void> | undefined {
    if (this.busyMs === 0) return undefined;
    return new Promise((resolve) => setTimeout(resolve, this.busyMs));
  }

  go(): void {
    this.left = true;
    this.leave?.();
  }

  get #isOver(): boolean {
    return this.finished !== undefined || (this.left && this.leave !== undefined);
  }

  #is(holds: boolean, what: string): void {
    if (!holds) this.problem ??= `${what}: ${this.heard.join(', ')}`;
  }
  problem: string | undefined;
}

type Step =
  | { do: 'publish'; texts: string[] }
  | { do: 'end' | 'lose' | 'mend' | 'late' | 'away' | 'back' | 'interrupt' | 'expire' }
  | { do: 'join'; at: number | null; busyMs: number; leavesAt: number | null }
  | { do: 'leave' | 'arrive' | 'slow' | 'wait'; n: number }
  | { do: 'roll back'; n: number; clockBack: boolean };

const just = <T extends string>(...words: T[]) => fc.record({ do: fc.constantFrom(...words) });
const withN = <T extends string>(word: T, n: fc.Arbitrary<number>) => fc.record({ do: fc.constant(word), n });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({
        do: fc.constant('publish' as const),
        texts: fc.array(fc.constantFrom('a', 'b', 'c', 'd', '!'), { minLength: 1, maxLength: 6 }),
      }),
    },
    {
      weight: 9,
      arbitrary: fc.record({
        do: fc.constant('join' as const),
        at: fc.option(fc.nat(40)),
        busyMs: fc.constantFrom(0, 0, 30, 200),
        leavesAt: fc.option(fc.integer({ min: 1, max: 8 }), { freq: 2 }),
      }),
    },
    { weight: 6, arbitrary: withN('wait', fc.constantFrom(0, 1, 5, 20, 60, 300)) },
    { weight: 2, arbitrary: withN('leave', fc.nat(10)) },
    { weight: 3, arbitrary: just('late') },
    { weight: 3, arbitrary: withN('arrive', fc.integer({ min: 1, max: 10 })) },
    { weight: 2, arbitrary: withN('slow', fc.constantFrom(0, 1, 10, 70)) },
    { weight: 4, arbitrary: just('lose', 'mend') },
    { weight: 3, arbitrary: just('away', 'back', 'interrupt') },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('roll back' as const),
        n: fc.integer({ min: 1, max: 8 }),
        clockBack: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: just('expire') },
    { weight: 1, arbitrary: just('end') },
  ),
  { minLength: 1, maxLength: 50, size: 'max' },
);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function run(all: readonly Step[], retain: number, pieces: boolean): Promise<void> {
  vi.clearAllTimers();
  const log = new UnreliableLog(retain, pieces);
  const errors: unknown[] = [];
  const onError = (error: unknown) => errors.push(error);
  const follower = new Follower<Said[]>({ broker: log.broker, share, together, tailCheckMs: 100, onError });
  const readers: Checker[] = [];
  const joins: Promise<void>[] = [];
  const join = (step: Step & { do: 'join' }) => {
    const ids = [...log.known.keys()];
    const cursor = step.at === null ? undefined : ids[ids.length - 1 - (step.at % Math.max(1, ids.length))];
    const reader = new Checker(log, cursor);
    reader.busyMs = step.busyMs;
    reader.leavesAt = step.leavesAt ?? undefined;
    const joining = follower.follow(CHANNEL, cursor, reader).then(
      (following) => {
        if (following.kind === 'at_end') return;
        reader.leave = following.leave;
        if (reader.left) reader.leave();
        readers.push(reader);
      },
      (error: unknown) => {
        if (!(error instanceof BrokerUnavailableError)) errors.push(error);
      },
    );
    joins.push(joining);
  };
  const take = (step: Step) => {
    if (step.do === 'publish') for (const text of step.texts) log.publish(text);
    else if (step.do === 'end') log.publish('!', Phase.END);
    else if (step.do === 'join') join(step);
    else if (step.do === 'leave') readers[step.n % Math.max(1, readers.length)]?.go();
    else if (step.do === 'late') log.late ??= [];
    else if (step.do === 'arrive') log.arrive(step.n);
    else if (step.do === 'slow') log.answerMs = step.n;
    else if (step.do === 'lose' || step.do === 'mend') log.lostLive = step.do === 'lose';
    else if (step.do === 'away' || step.do === 'back') log.away = step.do === 'away';
    else if (step.do === 'interrupt') log.interrupt();
    else if (step.do === 'roll back') log.rollBack(step.n, step.clockBack);
    else if (step.do === 'expire') log.expire();
  };
  for (const step of all) {
    take(step);
    await vi.advanceTimersByTimeAsync(step.do === 'wait' ? step.n : 0);
  }
  log.lostLive = false;
  log.away = false;
  log.arrive(Number.POSITIVE_INFINITY);
  await vi.advanceTimersByTimeAsync(3_000);
  await Promise.all(joins);
  log.publish('!', Phase.END);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(errors).toEqual([]);
  for (const reader of readers) {
    expect(reader.problem).toBeUndefined();
    if (reader.left) continue;
    expect([reader.finished, reader.heard]).toEqual(['ended', expect.anything()]);
  }
  expect([follower.channels, log.listening]).toEqual([0, 0]);
  follower.close();
  await vi.advanceTimersByTimeAsync(10);
  expect(vi.getTimerCount()).toBe(0);
}

test.each([
  ['each message by itself', false],
  ['text that coalesces', true],
])('%s', async (_, pieces) => {
  await fc.assert(
    fc.asyncProperty(steps, fc.constantFrom(3, 10, 1000), (all, retain) => run(all, retain, pieces)),
    { numRuns: Number(process.env['FOLLOW_RUNS'] ?? 200) },
  );
});
