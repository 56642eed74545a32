import { describe, expect, test, vi } from 'vitest';
import { BEFORE_ALL } from './entry-id.ts';
import { CHANNEL, cuttable, follow, Notes, PATIENCE_MS, publish, texts } from './follow-testing.ts';

// Readers that catch up while the log goes away under the feed that they join.

function congested() {
  const notes = new Notes();
  let free = () => {};
  notes.busy = new Promise<void>((resolve) => {
    free = () => {
      notes.busy = undefined;
      resolve();
    };
  });
  return { notes, free };
}

describe('who is slow to catch up', () => {
  test('is told of a gap that the feed met meanwhile', async () => {
    let nowMs = 1_000_000;
    const { broker, line } = cuttable({ retention: { maxEntries: 3, minAgeMs: 0 }, now: () => nowMs++ });
    const follower = follow(broker, { tailCheckMs: 3_600_000 });
    const [live, { notes, free }] = [new Notes(), congested()];
    await follower.follow(CHANNEL, undefined, live);
    await publish(broker, '0');
    await follower.follow(CHANNEL, undefined, notes);
    await vi.waitFor(() => expect(notes.texts).toEqual(['0']), PATIENCE_MS);
    await publish(broker, '1');
    line.live = false;
    for (const text of texts(2, 10)) await publish(broker, text);
    line.live = true;
    await publish(broker, '10');
    await vi.waitFor(() => expect(live.heard).toEqual(['0', '1', '(gap)', ...texts(7, 11)]), PATIENCE_MS);
    free();
    await vi.waitFor(() => expect(notes.texts.at(-1)).toBe('10'), PATIENCE_MS);
    expect(notes.heard).toEqual(['0', '(gap)', ...texts(7, 11)]);
  });

  test('has nothing of a log that expired meanwhile, and was begun anew', async () => {
    let nowMs = 1_000_000;
    const { broker, line } = cuttable({ now: () => nowMs++ });
    const follower = follow(broker, { tailCheckMs: 3_600_000 });
    const live = new Notes();
    await follower.follow(CHANNEL, undefined, live);
    await publish(broker, 'old 0');
    const cursor = await publish(broker, 'old 1');
    await vi.waitFor(() => expect(live.texts).toHaveLength(2), PATIENCE_MS);
    nowMs += 3_600_000;
    const notes = new Notes();
    // It finds nothing; what is published then is missed, and found when the feed looks.
    line.onRead = () => {
      line.onRead = () => {};
      line.live = false;
      void publish(broker, 'new');
    };
    await follower.follow(CHANNEL, cursor, notes);
    await vi.waitFor(() => expect(notes.texts.at(-1)).toBe('new'), PATIENCE_MS);
    expect([notes.heard, live.heard]).toEqual([
      ['(expired)', 'new'],
      ['old 0', 'old 1', '(expired)', 'new'],
    ]);
  });
});

test('a cursor before everything is none: an empty channel has nothing to say to it', async () => {
  const { broker } = cuttable();
  const notes = new Notes();
  await follow(broker).follow(CHANNEL, BEFORE_ALL, notes);
  await publish(broker, '0');
  await vi.waitFor(() => expect(notes.heard).toEqual(['0']), PATIENCE_MS);
});
