import { describe, expect, test, vi } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { CHANNEL, cuttable, follow, Notes, PATIENCE_MS, publish, texts } from './follow-testing.ts';

describe('a reader', () => {
  test('gets what is retained, then what comes, and ends after END', async () => {
    const { broker } = cuttable();
    for (const text of texts(0, 300)) await publish(broker, text);
    const notes = new Notes();
    await follow(broker).follow(CHANNEL, undefined, notes);
    await vi.waitFor(() => expect(notes.texts).toHaveLength(300), PATIENCE_MS);
    for (const text of texts(300, 310)) await publish(broker, text);
    await publish(broker, '310', Phase.END);
    await vi.waitFor(() => expect(notes.finished).toBe('ended'), PATIENCE_MS);
    expect(notes.texts).toEqual(texts(0, 311));
    expect(notes.notices).toEqual([]);
  });

  test('resumes after its cursor, and has nothing to come back for at the end of a sealed channel', async () => {
    const { broker } = cuttable();
    const ids = [];
    for (const text of texts(0, 4)) ids.push(await publish(broker, text));
    const last = await publish(broker, '4', Phase.END);
    const follower = follow(broker);
    const notes = new Notes();
    await follower.follow(CHANNEL, ids[1], notes);
    await vi.waitFor(() => expect(notes.finished).toBe('ended'), PATIENCE_MS);
    expect(notes.texts).toEqual(['2', '3', '4']);
    const again = new Notes();
    expect(await follower.follow(CHANNEL, last, again)).toEqual({ kind: 'at_end' });
    expect(again).toEqual(new Notes());
    expect(follower.channels).toBe(0);
  });

  test('misses nothing that is published while it catches up slowly', async () => {
    const { broker } = cuttable();
    for (const text of texts(0, 500)) await publish(broker, text);
    const notes = new Notes();
    let resume = () => {};
    notes.busy = new Promise((resolve) => {
      resume = resolve;
    });
    await follow(broker).follow(CHANNEL, undefined, notes);
    for (const text of texts(500, 900)) await publish(broker, text);
    notes.busy = undefined;
    resume();
    for (const text of texts(900, 1000)) await publish(broker, text);
    await vi.waitFor(() => expect(notes.texts).toHaveLength(1000), PATIENCE_MS);
    expect(notes.texts).toEqual(texts(0, 1000));
  });

  test('shares a feed with others, whatever their cursors, and the feed goes with the last', async () => {
    const { broker } = cuttable();
    const ids = [];
    for (const text of texts(0, 10)) ids.push(await publish(broker, text));
    const follower = follow(broker);
    const readers = await Promise.all(
      ids.map(async (cursor) => {
        const notes = new Notes();
        return { notes, following: await follower.follow(CHANNEL, cursor, notes) };
      }),
    );
    expect(follower.channels).toBe(1);
    await publish(broker, '10');
    for (const [i, { notes }] of readers.entries()) {
      await vi.waitFor(() => expect(notes.texts).toEqual(texts(i + 1, 11)), PATIENCE_MS);
    }
    for (const { following } of readers) if (following.kind === 'following') following.leave();
    expect(follower.channels).toBe(0);
    const late = new Notes();
    await follower.follow(CHANNEL, ids[9], late);
    await vi.waitFor(() => expect(late.texts).toEqual(['10']), PATIENCE_MS);
  });
});
