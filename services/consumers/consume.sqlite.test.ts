import { expect, test } from 'vitest';
import { type ConsumeOptions, EndLostError, type LogRecord } from '#lib/log/log.ts';
import { consume } from './consume.ts';
import { eventMessage, ingestRecord, KeptReports, newPlace } from './consumers-testing.ts';
import { INGEST_READER } from './effects.ts';

const PARTITION = { topic: 'ingest-events', topicId: 'a topic', partition: 0 };

function records(from: bigint, count: number): LogRecord[] {
  return Array.from({ length: count }, (_, n) => {
    const { key, value } = ingestRecord(eventMessage());
    return { key, value, offset: from + BigInt(n), timestampMs: Date.now() };
  });
}

test('what gets the offsets of lost records is stored, and what was stored counts once', async () => {
  await using place = await newPlace();
  const reports = new KeptReports();
  const { promise, resolve } = Promise.withResolvers<ConsumeOptions>();
  // The log that loses records is Kafka, whose own tests show what it says then.
  const log = {
    append: () => Promise.reject(new Error('nothing is put aside')),
    consume: (options: ConsumeOptions) => {
      resolve(options);
      return { close: async () => undefined };
    },
  };
  const group = 'events';
  const topics = [PARTITION.topic];
  consume({
    log,
    store: place.store,
    group,
    topics,
    reader: INGEST_READER,
    onNew: () => undefined,
    reports: reports.add,
  });
  const { handle, keptPosition, onEndLost, onError } = await promise;
  const kept = records(0n, 3);
  expect(await keptPosition?.(PARTITION)).toBeUndefined();
  await handle({ ...PARTITION, epoch: 1, records: [...kept, ...records(3n, 3)] });
  expect(await keptPosition?.(PARTITION)).toEqual({ offset: 6n, epoch: 1 });
  const lost = { ...PARTITION, epoch: 1, offset: 3n, handledUntil: 6n };
  expect(await onEndLost?.(lost)).toBe(true);
  onError(new EndLostError(lost));
  await handle({ ...PARTITION, epoch: 2, records: [...kept, ...records(3n, 2)] });
  // Said again, by one that had the partition before.
  expect(await onEndLost?.(lost)).toBe(true);
  expect(await keptPosition?.(PARTITION)).toEqual({ offset: 5n, epoch: 2 });
  expect(await place.store.totals()).toMatchObject([{ outcome: 'accepted', category: 'error', quantity: 8n }]);
  expect(await onEndLost?.({ ...lost, topicId: 'a topic of the same name' })).toBe(false);
  expect(reports.all).toMatchObject([
    { level: 'error', message: expect.stringContaining('lost its end'), fields: { group, offset: 3, handledUntil: 6 } },
  ]);
});
