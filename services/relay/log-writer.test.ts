import { expect, onTestFinished, test, vi } from 'vitest';
import { TOPICS } from '#lib/ingest/topics.ts';
import { LogUnavailableError, type NewRecord, RecordRefusedError } from '#lib/log/log.ts';
import { until } from '../../test/support/until.ts';
import { LogWriter, type Part } from './log-writer.ts';
import { outcomeOf } from './pipeline-outcomes.ts';
import { OWNER, TestLog } from './pipeline-testing.ts';

function record(bytes = 10): NewRecord {
  return { topic: TOPICS.events, key: new Uint8Array(16), value: new Uint8Array(bytes) };
}

function part(...records: NewRecord[]): Part {
  return { records, outcomes: [] };
}

function outcomesOf(count: number): Part {
  const verdict = { outcome: 'filtered', reason: 'r', owner: OWNER, timestampMs: Date.now() } as const;
  return { records: [], outcomes: Array.from({ length: count }, () => outcomeOf(verdict, 'error', 1, undefined)) };
}

test('an append that is repeated has the stamps that it had, and those after it higher ones', async () => {
  const log = new TestLog();
  const writer = new LogWriter({ log, onError: () => undefined });
  const append = log.append.bind(log);
  let isLate = true;
  log.append = async (records) => {
    await append(records);
    if (isLate) throw new LogUnavailableError('it answered too late');
  };
  const written = writer.write([outcomesOf(2), outcomesOf(1)]);
  await until('it was tried', () => log.appended.length === 2);
  isLate = false;
  expect(await written).toEqual(['logged', 'logged']);
  await writer.write([outcomesOf(1)]);
  const stamps = log.outcomes().map(({ stamp }) => stamp);
  expect(new Set(stamps.map((stamp) => stamp?.writer)).size).toBe(1);
  const sequences = stamps.map((stamp) => stamp?.sequence);
  expect(sequences).toEqual([...log.appended.slice(1).flatMap(() => [0, 1, 2]), 3]);
});

test('appends that are under way at once are of different writers', async () => {
  const log = new TestLog();
  const writer = new LogWriter({ log, onError: () => undefined });
  await Promise.all(Array.from({ length: 20 }, () => writer.write([outcomesOf(3)])));
  const last = new Map<string, number>();
  for (const { stamp } of log.outcomes()) {
    expect(stamp?.sequence).toBeGreaterThan(last.get(stamp?.writer ?? '') ?? -1);
    last.set(stamp?.writer ?? '', stamp?.sequence ?? -1);
  }
  expect(last.size).toBe(8);
});

test('of several things the one that the log refuses is told, and the others are there', async () => {
  const log = new TestLog();
  const writer = new LogWriter({ log, onError: () => undefined });
  const append = log.append.bind(log);
  log.append = async (records) => {
    if (records.some(({ value }) => value.byteLength === 13)) throw new RecordRefusedError('13');
    await append(records);
  };
  const parts = [part(record(1)), part(record(2), record(13)), part(record(3)), part(record(13)), outcomesOf(1)];
  expect(await writer.write(parts)).toEqual(['logged', 'refused', 'logged', 'refused', 'logged']);
  expect(log.records.slice(0, 2).map(({ value }) => value.byteLength)).toEqual([1, 3]);
  expect(log.outcomes()).toHaveLength(1);
});

test('much is appended in pieces, in order', async () => {
  const log = new TestLog();
  const writer = new LogWriter({ log, onError: () => undefined });
  const records = Array.from({ length: 10 }, () => record(1024 * 1024));
  expect(await writer.write([part(...records)])).toEqual(['logged']);
  expect(log.records).toEqual(records);
  expect(log.appended).toEqual([3, 3, 3, 1]);
});

test('few appends are under way at once, and what waits for them goes together, in its turn', async () => {
  const log = new TestLog();
  const writer = new LogWriter({ log, onError: () => undefined });
  const { promise, resolve } = Promise.withResolvers<void>();
  let begun = 0;
  const append = log.append.bind(log);
  log.append = async (records) => {
    begun += 1;
    await promise;
    return append(records);
  };
  const records = Array.from({ length: 30 }, (_, n) => record(n));
  const written = records.map((each) => writer.write([part(each)]));
  await until('some have begun', () => begun > 0);
  expect(begun).toBe(8);
  resolve();
  expect(await Promise.all(written)).toEqual(new Array(30).fill(['logged']));
  expect(log.records).toEqual(records);
  expect(log.appended).toEqual([...new Array(8).fill(1), 22]);
});

test('closed, it gives up what fails, and says so', async () => {
  const log = new TestLog();
  const errors: unknown[] = [];
  const writer = new LogWriter({ log, onError: (error) => errors.push(error) });
  log.failWith = new LogUnavailableError('away');
  const written = Array.from({ length: 20 }, () => writer.write([part(record())]));
  writer.close();
  expect(await Promise.all(written)).toEqual(new Array(20).fill(['closed']));
  expect(errors).toEqual([log.failWith]);
});

test('a log that answers again, if only to refuse, is not away', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const log = new TestLog();
  const writer = new LogWriter({ log, onError: () => undefined });
  log.failWith = new LogUnavailableError('away');
  const written = writer.write([part(record())]);
  await vi.advanceTimersByTimeAsync(6_000);
  expect(writer.isAway).toBe(true);
  log.failWith = new RangeError('too large');
  await vi.advanceTimersByTimeAsync(2_000);
  expect(await written).toEqual(['refused']);
  // Whoever asks this before they write would never write again.
  expect(writer.isAway).toBe(false);
});
