import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import { AppendQueue, MAX_GROUP_BYTES } from './append-queue.ts';
import { LogFullError, LogUnavailableError, MAX_RECORD_BYTES, type NewRecord, RecordRefusedError } from './log.ts';

/** A queue whose writes wait until they are let through. */
function queueWith(options: { maxWaitingBytes?: number; deadlineMs?: number } = {}) {
  const groups: string[][] = [];
  const answers: { resolve: () => void; reject: (error: Error) => void }[] = [];
  const queue = new AppendQueue({
    limits: { maxWaitingBytes: options.maxWaitingBytes ?? 1_000_000_000 },
    deadlineMs: options.deadlineMs,
    write: (records) => {
      groups.push(records.map(({ value }) => Buffer.from(value.subarray(0, 8)).toString()));
      return new Promise((resolve, reject) => answers.push({ resolve, reject }));
    },
  });
  const written = (count: number) => until(`${count} are being written`, () => answers.length === count);
  return { queue, groups, answers, written };
}

const record = (text: string): NewRecord => ({ topic: 't', key: new Uint8Array(), value: Buffer.from(text) });

test('what arrives together goes together, and what arrives meanwhile goes next', async () => {
  const { queue, groups, answers, written } = queueWith();
  const first = [queue.append([record('a'), record('b')]), queue.append([record('c')])];
  await written(1);
  const second = [queue.append([record('d')]), queue.append([record('e')])];
  await delay(5);
  expect(groups).toEqual([['a', 'b', 'c']]);
  answers[0]?.resolve();
  await Promise.all(first);
  await written(2);
  expect(groups).toEqual([
    ['a', 'b', 'c'],
    ['d', 'e'],
  ]);
  answers[1]?.resolve();
  await Promise.all(second);
  expect(queue.waitingBytes).toBe(0);
});

test('of a group with something that is refused for good, only that is', async () => {
  const writes: string[] = [];
  const queue = new AppendQueue({
    write: async (records) => {
      const text = records.map(({ value }) => Buffer.from(value).toString()).join('');
      writes.push(text);
      if (text.includes('x')) throw new RecordRefusedError('x');
    },
  });
  const results = await Promise.allSettled(['a', 'x', 'b'].map((text) => queue.append([record(text)])));
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(writes).toEqual(['axb', 'a', 'x', 'b']);
  expect(queue.waitingBytes).toBe(0);
});

test('what came to its deadline while its group was refused is not written again', async () => {
  const writes: number[] = [];
  const queue = new AppendQueue({
    deadlineMs: 20,
    write: async (records) => {
      writes.push(records.length);
      await Promise.allSettled(appends);
      throw new RecordRefusedError('no');
    },
  });
  const appends = ['a', 'b'].map((text) => queue.append([record(text)]));
  for (const append of appends) await expect(append).rejects.toBeInstanceOf(LogUnavailableError);
  await queue.close();
  await nextTurn();
  expect(writes).toEqual([2]);
  expect(queue.waitingBytes).toBe(0);
});

test('a group that fails rejects its own appends, and the next one goes', async () => {
  const { queue, groups, answers, written } = queueWith();
  const first = queue.append([record('a')]);
  await written(1);
  const second = queue.append([record('b')]);
  answers[0]?.reject(new LogUnavailableError('no'));
  await expect(first).rejects.toThrow('no');
  await written(2);
  answers[1]?.resolve();
  await second;
  expect(groups).toEqual([['a'], ['b']]);
});

test('a group is bounded, and has one append at least', async () => {
  const { queue, groups, answers, written } = queueWith();
  const half = Buffer.alloc(MAX_RECORD_BYTES);
  const big = { topic: 't', key: new Uint8Array(), value: half };
  const appends = [queue.append([big, big, big, big]), queue.append([big]), queue.append([big]), queue.append([big])];
  for (let n = 0; n < 3; n++) {
    await written(n + 1);
    answers[n]?.resolve();
  }
  await Promise.all(appends);
  expect(groups.map(({ length }) => length)).toEqual([4, MAX_GROUP_BYTES / MAX_RECORD_BYTES, 1]);
});

test('over its bytes an append is refused at once, until some are answered', async () => {
  const { queue, answers, written } = queueWith({ maxWaitingBytes: 10 });
  const first = queue.append([record('12345678')]);
  await expect(queue.append([record('123')])).rejects.toBeInstanceOf(LogFullError);
  const second = queue.append([record('12')]);
  expect(queue.waitingBytes).toBe(10);
  await written(1);
  answers[0]?.resolve();
  await Promise.all([first, second]);
  const third = queue.append([record('1234567890')]);
  await written(2);
  answers[1]?.resolve();
  await third;
});

test('nobody waits longer than the deadline, and what is being written keeps its bytes', async () => {
  const { queue, groups, answers } = queueWith({ deadlineMs: 30, maxWaitingBytes: 10 });
  const startMs = performance.now();
  const first = queue.append([record('12345')]);
  await delay(10);
  const second = queue.append([record('1234')]);
  await expect(first).rejects.toBeInstanceOf(LogUnavailableError);
  await expect(second).rejects.toBeInstanceOf(LogUnavailableError);
  expect(performance.now() - startMs).toBeGreaterThanOrEqual(35);
  expect(queue.waitingBytes).toBe(5);
  expect(groups).toEqual([['12345']]);
  answers[0]?.resolve();
  await until('nothing is left', () => queue.waitingBytes === 0);
  expect(groups).toHaveLength(1);
});

test('closing answers what waits first, by its deadline at the latest, and takes no more', async () => {
  const { queue, answers, written } = queueWith({ deadlineMs: 40 });
  const first = queue.append([record('a')]);
  await written(1);
  const second = queue.append([record('b')]);
  const closed = queue.close();
  await expect(queue.append([record('c')])).rejects.toBeInstanceOf(LogUnavailableError);
  answers[0]?.resolve();
  await first;
  await expect(second).rejects.toBeInstanceOf(LogUnavailableError);
  await closed;
});

test('a record over the limit is refused as a mistake', async () => {
  const { queue } = queueWith();
  const tooBig = { topic: 't', key: Buffer.alloc(1), value: Buffer.alloc(MAX_RECORD_BYTES) };
  await expect(queue.append([tooBig])).rejects.toBeInstanceOf(RangeError);
  await queue.append([]);
  await queue.close();
});
