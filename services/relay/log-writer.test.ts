import { expect, onTestFinished, test, vi } from 'vitest';
import { TOPICS } from '#lib/ingest/topics.ts';
import { LogUnavailableError, type NewRecord } from '#lib/log/log.ts';
import { until } from '../../test/support/until.ts';
import { LogWriter } from './log-writer.ts';
import { TestLog } from './pipeline-testing.ts';

function record(bytes = 10): NewRecord {
  return { topic: TOPICS.events, key: new Uint8Array(16), value: new Uint8Array(bytes) };
}

test('much is appended in pieces, in order', async () => {
  const log = new TestLog();
  const writer = new LogWriter({ log, onError: () => undefined });
  const records = Array.from({ length: 10 }, () => record(1024 * 1024));
  expect(await writer.write(records)).toBe('logged');
  expect(log.records).toEqual(records);
  expect(log.appended).toEqual([3, 3, 3, 1]);
});

test('few appends are under way at once, and what waits for them keeps its turn', async () => {
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
  const written = records.map((each) => writer.write([each]));
  await until('some have begun', () => begun > 0);
  expect(begun).toBe(8);
  resolve();
  expect(await Promise.all(written)).toEqual(new Array(30).fill('logged'));
  expect(log.records).toEqual(records);
});

test('closed, it gives up what fails, and says so', async () => {
  const log = new TestLog();
  const errors: unknown[] = [];
  const writer = new LogWriter({ log, onError: (error) => errors.push(error) });
  log.failWith = new LogUnavailableError('away');
  const written = Array.from({ length: 20 }, () => writer.write([record()]));
  writer.close();
  expect(await Promise.all(written)).toEqual(new Array(20).fill('closed'));
  expect(errors).toEqual([log.failWith]);
});

test('a log that answers again, if only to refuse, is not away', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const log = new TestLog();
  const writer = new LogWriter({ log, onError: () => undefined });
  log.failWith = new LogUnavailableError('away');
  const written = writer.write([record()]);
  await vi.advanceTimersByTimeAsync(6_000);
  expect(writer.isAway).toBe(true);
  log.failWith = new RangeError('too large');
  await vi.advanceTimersByTimeAsync(2_000);
  expect(await written).toBe('refused');
  // Whoever asks this before they write would never write again.
  expect(writer.isAway).toBe(false);
});
