import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { BrokerUnavailableError, channelKey, type Entry } from './broker.ts';
import { marked, Pieces, textOf, WINDOW_MS } from './coalescing-testing.ts';
import { BEFORE_ALL, type EntryId } from './entry-id.ts';
import { Follower, type Notice, type Reader } from './follow.ts';

// What a channel that coalesces means to those who follow it.

const CHANNEL = channelKey(1n, '97f58c19-ce38-4c6b-8a5b-47f3405691f0');
/** What is shared: texts with the id after each, joined where both may be. */
type Said = { readonly text: string; readonly id: EntryId; readonly joins: boolean }[];

const share = (entry: Entry): Said => [{ text: textOf(entry), id: entry.id, joins: entry.coalesceMs !== undefined }];

function together(shared: readonly Said[]): Said[] {
  const joined: Said = [];
  for (const said of shared.flat()) {
    const before = joined.at(-1);
    if (before?.joins === true && said.joins) joined[joined.length - 1] = { ...said, text: before.text + said.text };
    else joined.push(said);
  }
  return [joined];
}

class Notes implements Reader<Said> {
  readonly writes: string[][] = [];
  readonly said: Said = [];
  readonly notices: Notice[] = [];
  finished: string | undefined;
  deliver(shared: Said): void {
    if (this.finished !== undefined) throw new Error('delivered after the end');
    this.writes.push(shared.map(({ text }) => text));
    this.said.push(...shared);
  }
  control(notice: Notice): void {
    this.notices.push(notice);
    this.writes.push([notice.type]);
  }
  finish(reason: string): void {
    this.finished = reason;
  }
  congested(): undefined {}
  get text(): string {
    return this.said.map(({ text }) => text).join('');
  }
}

let pieces: Pieces;
let follower: Follower<Said>;

function start(options: { retain?: number; tailCheckMs?: number; patienceMs?: number } = {}): void {
  const { retain, tailCheckMs = 5000, ...more } = options;
  let nowMs = 1_000_000;
  pieces = new Pieces({
    now: () => nowMs++,
    ...(retain === undefined ? {} : { retention: { maxEntries: retain, minAgeMs: 0 } }),
  });
  follower = new Follower<Said>({
    broker: pieces.broker,
    share,
    together,
    tailCheckMs,
    onError: (error) => {
      throw error;
    },
    ...more,
  });
}

async function join(cursor?: EntryId) {
  const notes = new Notes();
  const following = await follower.follow(CHANNEL, cursor, notes);
  await turn();
  return { notes, leave: () => following.kind === 'following' && following.leave() };
}

async function publish(text: string, phase: Phase = Phase.DELTA): Promise<EntryId> {
  const message = { messageId: crypto.randomUUID(), phase, sequence: 0n, data: new TextEncoder().encode(text) };
  const result = await pieces.memory.publish(CHANNEL, message, { name: 'unary', perSec: 0 });
  if (result.kind !== 'stored') throw new Error(result.kind);
  return result.id;
}

async function publishAll(letters: string): Promise<void> {
  for (const letter of letters) await publish(letter);
}

/** The end of this turn, and what comes after it. */
const turn = () => vi.advanceTimersByTimeAsync(1);
const time = (ms: number) => vi.advanceTimersByTimeAsync(ms);

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(async () => {
  follower.close();
  await pieces.memory.close();
  vi.useRealTimers();
});

describe('live text', () => {
  test('comes at once, and then once a window, joined', async () => {
    start();
    const { notes } = await join();
    await publishAll('a');
    await turn();
    expect(notes.writes).toEqual([['a']]);
    await publishAll('bc');
    await turn();
    await time(WINDOW_MS / 2);
    await publishAll('d');
    await turn();
    expect(notes.writes).toEqual([['a']]);
    await time(WINDOW_MS / 2 + 1);
    expect(notes.writes).toEqual([['a'], ['bcd']]);
    await time(WINDOW_MS);
    await publishAll('e');
    await turn();
    expect(notes.writes).toEqual([['a'], ['bcd'], ['e']]);
  });

  test('goes before whatever else comes, which does not wait', async () => {
    start();
    const { notes } = await join();
    await publishAll('a');
    await turn();
    await publishAll('bc!d');
    await turn();
    expect(notes.writes).toEqual([['a'], ['bc', '!', 'd']]);
    await publishAll('ef');
    await publish('!', Phase.END);
    expect(notes.writes.at(-1)).toEqual(['ef', '!']);
    expect(notes.finished).toBe('ended');
  });

  test('goes before readers are told that the broker is away, or sent away themselves', async () => {
    start({ tailCheckMs: 1, patienceMs: 5 });
    const [{ notes }, other] = [await join(), await join()];
    await publishAll('a');
    await turn();
    await publishAll('bc');
    follower.deliverDue();
    expect(notes.writes).toEqual([['a'], ['bc']]);
    await publishAll('d');
    vi.spyOn(pieces.memory, 'tails').mockRejectedValue(new BrokerUnavailableError('cut'));
    await time(WINDOW_MS / 2);
    expect([notes.finished, notes.text, other.notes.text]).toEqual(['unavailable', 'abcd', 'abcd']);
  });

  test('leaves no timer behind when nobody listens any more', async () => {
    start();
    const timers = vi.getTimerCount();
    const { leave } = await join();
    await publishAll('a');
    await turn();
    await publishAll('b');
    expect(vi.getTimerCount()).toBe(timers + 1);
    leave();
    expect([vi.getTimerCount(), follower.channels]).toEqual([timers, 0]);
  });
});

describe('who joins while text waits', () => {
  test('has it at once, and the others in their time; each has it once', async () => {
    start();
    const { notes } = await join();
    await publishAll('a');
    await turn();
    await publishAll('bc');
    const second = await join();
    await publishAll('d');
    const third = await join();
    const fourth = await join();
    expect(notes.writes).toEqual([['a']]);
    await publishAll('e');
    await time(WINDOW_MS);
    expect(notes.writes).toEqual([['a'], ['bcde']]);
    expect(second.notes.writes).toEqual([['abc'], ['de']]);
    expect(third.notes.writes).toEqual([['abcd'], ['e']]);
    await time(WINDOW_MS);
    await publishAll('!');
    await turn();
    for (const joined of [notes, second.notes, third.notes, fourth.notes]) {
      expect(joined.writes.at(-1)).toEqual(['!']);
      expect(joined.text).toBe('abcde!');
    }
  });

  test('and goes before it is over, is forgotten', async () => {
    start();
    const { leave } = await join();
    await publishAll('a');
    await turn();
    await publishAll('b');
    const second = await join();
    leave();
    await publishAll('c');
    second.leave();
    expect(follower.channels).toBe(0);
    await time(WINDOW_MS);
    expect(second.notes.text).toBe('ab');
  });

  test('hears of the end like the others', async () => {
    start();
    await join();
    await publishAll('a');
    await turn();
    await publishAll('b');
    const { notes } = await join();
    await publish('!', Phase.END);
    expect([notes.text, notes.finished]).toEqual(['ab!', 'ended']);
  });
});

describe('an entry that stands for several', () => {
  test('is as many as one write, also for who comes late', async () => {
    start();
    await publishAll('!abcdefghijklmno!pqr');
    pieces.reads = 0;
    const { notes } = await join();
    expect(notes.writes).toEqual([['!', 'abcdefghijklmno', '!', 'pqr']]);
    expect(pieces.reads).toBe(1);
  });

  test('is joined once for all who are sent the same', async () => {
    start();
    await publishAll('abcdefghijklmno');
    const joined = await Promise.all(Array.from({ length: 50 }, () => join()));
    const [first] = joined;
    for (const { notes } of joined) expect(notes.said[0]).toBe(first?.notes.said[0]);
  });

  test('may be resumed within', async () => {
    start();
    const ids: EntryId[] = [];
    for (const letter of 'abcdefgh') ids.push(await publish(letter));
    const { notes } = await join(ids[2]);
    expect([notes.text, notes.notices]).toEqual(['defgh', []]);
    const end = await publish('!', Phase.END);
    expect(notes.text).toBe('defgh!');
    expect(await follower.follow(CHANNEL, end, new Notes())).toEqual({ kind: 'at_end' });
  });

  test('whose messages are trimmed is a gap to a cursor within, and whole to who has none', async () => {
    start({ retain: 3 });
    const ids: EntryId[] = [];
    for (const letter of 'abcdefghijklmnopqr') ids.push(await publish(letter));
    const { notes } = await join(ids[1]);
    expect(notes.notices).toEqual([{ type: 'gap', firstId: expect.any(String) }]);
    expect('abcdefghijklmnopqr'.endsWith(notes.text)).toBe(true);
  });

  test('counts what is heard of it afterwards: it is not asked for again', async () => {
    start();
    const { notes } = await join();
    await publishAll('abcde');
    await turn();
    pieces.live = false;
    await publishAll('fghij');
    const { entries } = await pieces.memory.read(CHANNEL, BEFORE_ALL, 10);
    pieces.interrupt();
    await turn();
    pieces.reads = 0;
    for (const entry of entries) pieces.hear(marked(entry));
    await time(2 * WINDOW_MS);
    expect([notes.writes, pieces.reads]).toEqual([[['abcde'], ['fghij']], 0]);
  });
});

describe('whatever is lost, and whoever joins when and where,', () => {
  const steps = fc.array(
    fc.oneof(
      { weight: 8, arbitrary: fc.record({ do: fc.constant('publish'), text: fc.constantFrom(...'abcdefgh!') }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('join'), at: fc.option(fc.nat()) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('leave'), at: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('cut', 'mend', 'away', 'back', 'interrupt') }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('wait'), ms: fc.constantFrom(0, 1, 20, 60) }) },
    ) as fc.Arbitrary<{ do: string; text?: string; at?: number | null; ms?: number }>,
    { minLength: 1, maxLength: 60 },
  );

  test('each has all of it after its cursor, in order and once', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        start({ tailCheckMs: 100 });
        let whole = '';
        const ids: EntryId[] = [];
        const readers: { notes: Notes; from: number; following: Awaited<ReturnType<typeof follower.follow>> }[] = [];
        const joins: Promise<unknown>[] = [];
        for (const step of all) {
          if (step.do === 'publish') {
            whole += step.text ?? '';
            ids.push(await publish(step.text ?? ''));
          } else if (step.do === 'join') {
            const from = step.at === null || ids.length === 0 ? 0 : ((step.at ?? 0) % ids.length) + 1;
            const notes = new Notes();
            const joining = follower
              .follow(CHANNEL, from === 0 ? undefined : ids[from - 1], notes)
              .then((following) => readers.push({ notes, from, following }))
              .catch(() => {});
            joins.push(joining);
          } else if (step.do === 'leave') {
            const left = readers.splice((step.at ?? 0) % Math.max(1, readers.length), 1)[0]?.following;
            if (left?.kind === 'following') left.leave();
          } else if (step.do === 'cut' || step.do === 'mend') pieces.live = step.do === 'mend';
          else if (step.do === 'away' || step.do === 'back') pieces.answers = step.do === 'back';
          else if (step.do === 'interrupt') pieces.interrupt();
          else await time(step.ms ?? 0);
        }
        pieces.live = true;
        pieces.answers = true;
        await Promise.all(joins);
        await publish('!', Phase.END);
        await time(10_000);
        for (const { notes, from } of readers) {
          expect([notes.text, notes.finished, notes.notices]).toEqual([`${whole}!`.slice(from), 'ended', []]);
          // Where a message ends is an id that is good to come back by.
          let length = from;
          for (const { text, id } of notes.said) {
            length += text.length;
            if (length <= ids.length) expect(id).toBe(ids[length - 1]);
          }
        }
        follower.close();
        await pieces.memory.close();
      }),
      { numRuns: 150 },
    );
  });
});
