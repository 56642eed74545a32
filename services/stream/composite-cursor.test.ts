import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ChannelKey, channelKey } from '#lib/broker/broker.ts';
import { compareEntryIds, type EntryId, parseEntryId } from '#lib/broker/entry-id.ts';
import { CompositeCursor, parseCompositeCursor } from './composite-cursor.ts';

const CHANNELS = 50;

const ids = fc
  .tuple(fc.integer({ min: 1, max: 2 ** 48 - 1 }), fc.integer({ min: 0, max: 2 ** 24 - 1 }))
  .map(([ms, n]) => `${ms}-${n}` as EntryId);
const channels = fc
  .uniqueArray(fc.uuid(), { minLength: 1, maxLength: CHANNELS })
  .map((uuids) => uuids.map((uuid) => channelKey(7n, uuid)));
const places = channels.chain((keys) =>
  fc.record({
    keys: fc.constant(keys),
    cursors: fc.array(fc.option(ids, { nil: undefined }), { minLength: keys.length, maxLength: keys.length }),
  }),
);
const key = (n: number): ChannelKey => channelKey(1n, `f3b5c1de-0f0a-4c58-9a3c-2f1d7f4f9c${10 + n}`);

test('is read as it was written, whatever it was moved to, for the same channels in any order and for others', () => {
  fc.assert(
    fc.property(places, places, fc.infiniteStream(fc.nat()), ({ keys, cursors }, others, random) => {
      const cursor = new CompositeCursor(
        keys,
        keys.map(() => '5-5' as EntryId),
      );
      cursors.forEach((id, n) => {
        cursor.move(n, id);
      });
      const text = cursor.toString();
      expect(text).toBe(new CompositeCursor(keys, cursors).toString());
      expect(text).toMatch(/^[A-Za-z0-9_-]+$/);
      expect(cursor.bytes.toString('latin1')).toBe(text);
      const known = new Map(keys.map((channel, n) => [channel, cursors[n]]));
      const asked = [...keys, ...others.keys.filter((channel) => !known.has(channel))]
        .map((channel) => ({ channel, at: random.next().value as number }))
        .sort((a, b) => a.at - b.at)
        .map(({ channel }) => channel)
        .slice(0, CHANNELS);
      expect(parseCompositeCursor(text, asked)).toEqual(asked.map((channel) => known.get(channel)));
    }),
  );
});

test('fits into what the contract takes, with as many channels as it allows', () => {
  const keys = Array.from({ length: CHANNELS }, () => channelKey(2n ** 64n - 1n, crypto.randomUUID()));
  const last = `${2 ** 48 - 1}-${2 ** 24 - 1}` as EntryId;
  expect(
    new CompositeCursor(
      keys,
      keys.map(() => last),
    ).toString().length,
  ).toBeLessThanOrEqual(2048);
});

test('the same channel of another organization is another', () => {
  const id = crypto.randomUUID();
  const text = new CompositeCursor([channelKey(1n, id)], ['5-0' as EntryId]).toString();
  expect(parseCompositeCursor(text, [channelKey(1n, id), channelKey(2n, id)])).toEqual(['5-0', undefined]);
});

test('an id that no broker makes is spelled as the beginning: nothing is left out', () => {
  for (const id of [`${2 ** 48}-0`, `1-${2 ** 24}`, `${2n ** 64n - 1n}-0`]) {
    const text = new CompositeCursor([key(0), key(1)], [id as EntryId, '1-1' as EntryId]).toString();
    expect(parseCompositeCursor(text, [key(0), key(1)])).toEqual([undefined, '1-1']);
  }
});

describe('from outside', () => {
  test('an empty one is where everybody begins', () => {
    expect(parseCompositeCursor('', [key(0)])).toEqual([undefined]);
  });

  test.for([
    'x',
    'A!',
    '1-0',
    '1700000000000-0',
    `B${'A'.repeat(24)}`,
    `A${'A'.repeat(23)}`,
    `A${'A'.repeat(25)}`,
    'é',
  ])('is none: %s', (text) => {
    expect(parseCompositeCursor(text, [key(0)])).toBeUndefined();
  });

  test('is none if it is too long', () => {
    expect(parseCompositeCursor(`A${'A'.repeat(24 * 85)}`, [])).toEqual([]);
    expect(parseCompositeCursor(`A${'A'.repeat(24 * 86)}`, [])).toBeUndefined();
  });

  test('whatever it is, ids are ids or there is no cursor', () => {
    const letters = fc.string({ unit: fc.constantFrom(...'AQgwz019-_'), maxLength: 80 });
    const whole = fc.array(fc.string({ unit: fc.constantFrom(...'AQgwz019-_'), minLength: 24, maxLength: 24 }), {
      maxLength: 4,
    });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          letters,
          whole.map((places) => `A${places.join('')}`),
        ),
        (text) => {
          for (const id of parseCompositeCursor(text, [key(0), key(1)]) ?? []) {
            if (id !== undefined) expect(compareEntryIds(parseEntryId(id) as EntryId, id)).toBe(0);
          }
        },
      ),
    );
  });
});
