import { describe, expect, test, vi } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { BEFORE_ALL, parseEntryId } from './entry-id.ts';
import { CHANNEL, cuttable, follow, Notes, PATIENCE_MS, publish, texts } from './follow-testing.ts';

describe('when live delivery loses', () => {
  test('the middle, the chain finds it with the next entry', async () => {
    const { broker, line } = cuttable();
    const notes = new Notes();
    await follow(broker, { tailCheckMs: 3_600_000 }).follow(CHANNEL, undefined, notes);
    await publish(broker, '0');
    line.live = false;
    for (const text of texts(1, 200)) await publish(broker, text);
    line.live = true;
    await publish(broker, '200');
    await vi.waitFor(() => expect(notes.texts).toEqual(texts(0, 201)), PATIENCE_MS);
  });

  test('the end, the tail check finds it', async () => {
    const { broker, line } = cuttable();
    const notes = new Notes();
    await follow(broker).follow(CHANNEL, undefined, notes);
    line.live = false;
    await publish(broker, '0');
    await publish(broker, '1', Phase.END);
    await vi.waitFor(() => expect(notes.finished).toBe('ended'), PATIENCE_MS);
    expect(notes.texts).toEqual(['0', '1']);
  });

  test('something during an interruption, it is looked for at once', async () => {
    const { broker, line, interrupt } = cuttable();
    const notes = new Notes();
    await follow(broker, { tailCheckMs: 3_600_000 }).follow(CHANNEL, undefined, notes);
    line.live = false;
    await publish(broker, '0');
    interrupt();
    await vi.waitFor(() => expect(notes.texts).toEqual(['0']), PATIENCE_MS);
  });
});

// The tail check asks on another connection than live entries come by: it may be told of what is still under way.
describe('live delivery is late, and the log has let go of it: nothing is missing where it arrives', () => {
  test.each([
    ['before the answer', (arrive: () => void) => arrive()],
    ['right behind the answer', (arrive: () => void) => setImmediate(arrive)],
    ['in part before and in part behind it', undefined],
  ])('%s', async (_, when) => {
    let nowMs = 1_000_000;
    const { broker, line, arrive, interrupt } = cuttable({
      retention: { maxEntries: 5, minAgeMs: 0 },
      now: () => nowMs++,
    });
    const notes = new Notes();
    await follow(broker, { tailCheckMs: 3_600_000 }).follow(CHANNEL, undefined, notes);
    await publish(broker, '0');
    line.late = [];
    for (const text of texts(1, 20)) await publish(broker, text);
    let reads = 0;
    line.onRead = () => {
      reads += 1;
      if (when !== undefined) return when(arrive);
      for (const deliver of line.late?.splice(0, 7) ?? []) deliver();
      if (line.late?.length === 0) line.late = undefined;
    };
    interrupt();
    await vi.waitFor(() => expect(notes.texts).toEqual(texts(0, 20)), PATIENCE_MS);
    expect([reads > 0, notes.notices]).toEqual([true, []]);
    line.onRead = () => {};
    arrive();
    await publish(broker, '20');
    await vi.waitFor(() => expect(notes.texts).toEqual(texts(0, 21)), PATIENCE_MS);
  });
});

describe('what can not be delivered is said:', () => {
  test('a gap, to a cursor that was trimmed and to a reader without one', async () => {
    let nowMs = 1_000_000;
    const { broker } = cuttable({ retention: { maxEntries: 5, minAgeMs: 0 }, now: () => nowMs++ });
    const first = await publish(broker, '0');
    const ids = [first];
    for (const text of texts(1, 20)) ids.push(await publish(broker, text));
    const { entries } = await broker.read(CHANNEL, BEFORE_ALL, 100);
    const firstId = entries[0]?.id;
    const follower = follow(broker);
    for (const cursor of [first, undefined]) {
      const notes = new Notes();
      await follower.follow(CHANNEL, cursor, notes);
      await vi.waitFor(() => expect(notes.texts.at(-1)).toBe('19'), PATIENCE_MS);
      expect(notes.notices).toEqual([{ notice: { type: 'gap', firstId }, cursor }]);
      expect(notes.ids[0]).toBe(firstId);
    }
  });

  test('expired, when the log is gone; what is published next arrives', async () => {
    let nowMs = 1_000_000;
    const { broker } = cuttable({ now: () => nowMs });
    const cursor = await publish(broker, 'old');
    const follower = follow(broker);
    const live = new Notes();
    await follower.follow(CHANNEL, cursor, live);
    nowMs += 3_600_000;
    const resumed = new Notes();
    await follower.follow(CHANNEL, cursor, resumed);
    for (const notes of [live, resumed]) {
      await vi.waitFor(
        () => expect(notes.notices).toEqual([{ notice: { type: 'expired' }, cursor: undefined }]),
        PATIENCE_MS,
      );
    }
    await publish(broker, 'new');
    for (const notes of [live, resumed]) await vi.waitFor(() => expect(notes.texts).toEqual(['new']), PATIENCE_MS);
  });

  test('expired and ended, when a sealed log is gone: the cursor is the end', async () => {
    let nowMs = 1_000_000;
    const { broker } = cuttable({ now: () => nowMs });
    const cursor = await publish(broker, '0');
    const end = await publish(broker, '1', Phase.END);
    nowMs += 3_600_000;
    const notes = new Notes();
    await follow(broker).follow(CHANNEL, cursor, notes);
    await vi.waitFor(() => expect(notes.finished).toBe('ended'), PATIENCE_MS);
    expect(notes.notices).toEqual([{ notice: { type: 'expired' }, cursor: end }]);
  });

  test('reset, to a cursor beyond the tail, and on from the tail', async () => {
    const { broker } = cuttable();
    const tail = await publish(broker, 'before');
    const notes = new Notes();
    await follow(broker).follow(CHANNEL, parseEntryId('99999999999999-7'), notes);
    await vi.waitFor(() => expect(notes.notices).toEqual([{ notice: { type: 'reset' }, cursor: tail }]), PATIENCE_MS);
    await publish(broker, 'after');
    await vi.waitFor(() => expect(notes.texts).toEqual(['after']), PATIENCE_MS);
  });

  test('reset, to a cursor that the log does not know: it was rolled back, and has gone on since', async () => {
    let nowMs = 1_000_000;
    const { broker } = cuttable({ now: () => nowMs++ });
    const before = await publish(broker, 'before');
    await publish(broker, 'after');
    const notes = new Notes();
    await follow(broker).follow(CHANNEL, parseEntryId(before.replace(/-.*/, '-7')), notes);
    await vi.waitFor(() => expect(notes.texts).toEqual(['after']), PATIENCE_MS);
    expect(notes.notices).toEqual([{ notice: { type: 'reset' }, cursor: before }]);
  });
});
