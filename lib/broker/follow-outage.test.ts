import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { BrokerUnavailableError, channelKey } from './broker.ts';
import { CHANNEL, cuttable, follow, Notes, PATIENCE_MS, publish } from './follow-testing.ts';

describe('while the broker is away', () => {
  test('a reader that has begun keeps its place', async () => {
    const { broker, line } = cuttable();
    const notes = new Notes();
    await follow(broker).follow(CHANNEL, undefined, notes);
    await publish(broker, '0');
    line.live = false;
    line.answers = false;
    await publish(broker, '1');
    await vi.waitFor(() => expect(line.refused).toBeGreaterThan(2), PATIENCE_MS);
    expect(notes.finished).toBeUndefined();
    line.answers = true;
    await vi.waitFor(() => expect(notes.texts).toEqual(['0', '1']), PATIENCE_MS);
  });

  test('it is told when that takes too long', async () => {
    const { broker, line } = cuttable();
    const notes = new Notes();
    await follow(broker, { patienceMs: 50 }).follow(CHANNEL, undefined, notes);
    line.answers = false;
    await vi.waitFor(() => expect(notes.finished).toBe('unavailable'), PATIENCE_MS);
  });

  test('that is counted from the first question that got no answer, however long it takes to fail', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const { broker, line } = cuttable();
    const notes = new Notes();
    await follow(broker, { tailCheckMs: 5_000, patienceMs: 30_000 }).follow(CHANNEL, undefined, notes);
    const failsAfterMs = [2_000];
    broker.tails = () =>
      new Promise((_, reject) => {
        line.refused++;
        setTimeout(() => reject(new BrokerUnavailableError('cut')), failsAfterMs.pop() ?? 1_900);
      });
    await vi.advanceTimersByTimeAsync(5_000 + 30_000 + 1_899);
    expect([notes.finished, line.refused]).toEqual([undefined, 7]);
    await vi.advanceTimersByTimeAsync(1);
    expect(notes.finished).toBe('unavailable');
  });

  test('also where only the log can not be read, live and behind', async () => {
    const { broker, line } = cuttable();
    const follower = follow(broker, { patienceMs: 200 });
    const [live, behind] = [new Notes(), new Notes()];
    await follower.follow(CHANNEL, undefined, live);
    for (let n = 0; n < 300; n++) await publish(broker, `${n}`);
    let go = () => {};
    behind.busy = new Promise((resolve) => {
      go = resolve;
    });
    await follower.follow(CHANNEL, undefined, behind);
    line.reads = false;
    behind.busy = undefined;
    go();
    line.live = false;
    await publish(broker, '300');
    await vi.waitFor(
      () => expect([live.finished, behind.finished]).toEqual(['unavailable', 'unavailable']),
      PATIENCE_MS,
    );
    expect([live.texts.length, behind.texts.length]).toEqual([300, 128]);
    expect(follower.channels).toBe(0);
  });

  test('of one channel alone, the readers of others are told nothing', async () => {
    const { broker, line } = cuttable();
    const follower = follow(broker, { patienceMs: 50 });
    const other = channelKey(1n, 'a46b7cf6-c4a9-4d7b-9a33-4fdc4c6b4f10');
    const [concerned, unconcerned] = [new Notes(), new Notes()];
    await follower.follow(CHANNEL, undefined, concerned);
    await follower.follow(other, undefined, unconcerned);
    line.silent = CHANNEL;
    await vi.waitFor(() => expect(concerned.finished).toBe('unavailable'), PATIENCE_MS);
    expect(unconcerned.finished).toBeUndefined();
  });

  test('a new one is refused, and the next finds a feed that works', async () => {
    const { broker, line } = cuttable();
    const follower = follow(broker);
    line.answers = false;
    await expect(follower.follow(CHANNEL, undefined, new Notes())).rejects.toThrow(BrokerUnavailableError);
    expect(follower.channels).toBe(0);
    line.answers = true;
    const notes = new Notes();
    await follower.follow(CHANNEL, undefined, notes);
    await publish(broker, '0');
    await vi.waitFor(() => expect(notes.texts).toEqual(['0']), PATIENCE_MS);
  });
});
