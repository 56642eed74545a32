import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import { LogUnavailableError, MAX_RECORD_BYTES, type NewRecord } from './log.ts';
import {
  Collector,
  type LogSpace,
  newGroup,
  newTopic,
  openIn,
  type TestLogOptions,
  textOf,
  textRecord,
  valuesByKey,
} from './log-harness.ts';

export interface ContractOptions {
  /** Whether the tests may run at once: they mostly wait. */
  readonly atOnce: boolean;
  readonly newSpace: () => Promise<LogSpace>;
}

/** How long partitions may take to move to another member. */
const MOVE_TIMEOUT_MS = 30_000;

/** What log.ts promises where nothing fails, to be run against every implementation. */
export function describeLogContract(name: string, { atOnce, newSpace }: ContractOptions): void {
  (atOnce ? describe.concurrent : describe)(`log contract: ${name}`, () => {
    let space: LogSpace;
    beforeAll(async () => {
      space = await newSpace();
    });
    afterAll(() => space[Symbol.asyncDispose]());
    const open = (options?: TestLogOptions) => openIn(space, options);

    test('records of a key are in one partition, in the order of their appends, with rising offsets', async () => {
      await using log = await open();
      const topic = newTopic();
      const keys = Array.from({ length: 20 }, (_, key) => `key-${key}`);
      const appends: Promise<void>[] = [];
      for (let number = 0; number < 50; number++) {
        for (const key of keys) appends.push(log.append([textRecord(topic, key, `${number}`)]));
        if (number % 10 === 0) await delay(1);
      }
      await Promise.all(appends);
      await using collector = new Collector(log, [topic]);
      await collector.has(1000);
      const partitionOf = new Map<string, number>();
      const nextOf = new Map<string, number>();
      const offsets = new Map<number, bigint>();
      for (const { partition, records } of collector.batches) {
        for (const { key, value, offset } of records) {
          expect(offset).toBeGreaterThan(offsets.get(partition) ?? -1n);
          offsets.set(partition, offset);
          expect(partitionOf.get(textOf(key)) ?? partition).toBe(partition);
          partitionOf.set(textOf(key), partition);
          expect(Number(textOf(value))).toBe(nextOf.get(textOf(key)) ?? 0);
          nextOf.set(textOf(key), Number(textOf(value)) + 1);
        }
      }
      expect(new Set(partitionOf.values()).size).toBeGreaterThan(1);
    });

    test('records come out as they went in, with the time of their append', async () => {
      await using log = await open();
      const topics = [newTopic(), newTopic()];
      const [first = '', second = ''] = topics;
      const beforeMs = Date.now();
      const records: NewRecord[] = [
        { topic: first, key: randomBytes(16), value: randomBytes(1500) },
        { topic: second, key: new Uint8Array(), value: new Uint8Array() },
        { topic: first, key: Buffer.from([0, 255]), value: new Uint8Array(randomBytes(300).buffer, 8, 100) },
      ];
      await log.append(records);
      await log.append([]);
      await using collector = new Collector(log, topics);
      await collector.has(3);
      const got = collector.batches.flatMap(({ topic, records }) => records.map((record) => ({ topic, ...record })));
      for (const { topic, key, value } of records) {
        const found = got.find((record) => record.topic === topic && Buffer.compare(record.key, key) === 0);
        expect(found && Buffer.compare(found.value, value)).toBe(0);
        expect(found?.timestampMs).toBeGreaterThanOrEqual(beforeMs - 1000);
        expect(found?.timestampMs).toBeLessThanOrEqual(Date.now() + 1000);
      }
      const ids = new Map(collector.batches.map(({ topic, topicId }) => [topic, topicId]));
      expect(new Set(ids.values()).size).toBe(2);
      for (const id of ids.values()) expect(id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      for await (const { topic, topicId } of log.readAll(first)) expect(topicId).toBe(ids.get(topic));
    });

    test('a consumer that waits hears of a new record, also of a new topic', async () => {
      await using log = await open();
      const topic = newTopic();
      await using collector = new Collector(log, [topic]);
      await delay(50);
      await log.append([textRecord(topic, 'a', '1')]);
      await collector.has(1);
      await log.append([textRecord(topic, 'a', '2')]);
      await collector.has(2);
      expect(collector.values).toEqual(['1', '2']);
    });

    test('a topic that several are the first to append to is made once', async () => {
      await using first = await open();
      await using second = await open();
      await using third = await open();
      const topic = newTopic();
      const logs = [first, second, third];
      await Promise.all(logs.map((log, n) => log.append([textRecord(topic, 'a', `${n}`)])));
      await using collector = new Collector(first, [topic]);
      await collector.has(3);
      expect(collector.values.toSorted()).toEqual(['0', '1', '2']);
    });

    test('a batch is within its limits, or one record', async () => {
      await using log = await open();
      const topic = newTopic();
      const sizes = [100, 100, 100, 5000, 100, 100, 100, 100, 100];
      await log.append(sizes.map((size) => ({ topic, key: Buffer.from('k'), value: Buffer.alloc(size) })));
      await using collector = new Collector(log, [topic], { maxBatchRecords: 3, maxBatchBytes: 1000 });
      await collector.has(sizes.length);
      for (const { records } of collector.batches) {
        expect(records.length).toBeLessThanOrEqual(3);
        const bytes = records.reduce((sum, { key, value }) => sum + key.byteLength + value.byteLength, 0);
        expect(records.length === 1 || bytes <= 1000).toBe(true);
      }
      expect(collector.records.map(({ value }) => value.byteLength)).toEqual(sizes);
    });

    test('one batch at a time, and one that failed comes again, before what follows it', async () => {
      await using log = await open();
      const topic = newTopic();
      await log.append(Array.from({ length: 10 }, (_, n) => textRecord(topic, 'k', `${n}`)));
      let failures = 0;
      let running = 0;
      await using collector = new Collector(log, [topic], { maxBatchRecords: 2 });
      collector.before = async ({ records }) => {
        expect(++running).toBe(1);
        await delay(2);
        running--;
        if (failures < 3 && records.some(({ value }) => textOf(value) === '4')) {
          failures++;
          throw new Error('not this time');
        }
      };
      await collector.has(10);
      expect(collector.values).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
      expect(collector.errors.map((error) => (error as Error).message)).toEqual(Array(3).fill('not this time'));
    });

    test('a partition whose batch fails holds up no other', async () => {
      await using log = await open();
      const topic = newTopic();
      const keys = Array.from({ length: 30 }, (_, key) => `key-${key}`);
      await log.append(keys.map((key) => textRecord(topic, key, key)));
      await using collector = new Collector(log, [topic]);
      let bad: number | undefined;
      collector.before = ({ partition }) => {
        bad ??= partition;
        if (partition === bad) throw new Error('never');
      };
      await until('it has failed twice', () => collector.errors.length >= 2);
      const others = new Set<number>();
      for await (const { partition } of log.readAll(topic)) if (partition !== bad) others.add(partition);
      expect(others.size).toBeGreaterThan(0);
      await until(
        'the others are handled',
        () => new Set(collector.batches.map(({ partition }) => partition)).size === others.size,
      );
      collector.before = () => undefined;
      await collector.has(keys.length);
      expect(collector.values.toSorted()).toEqual(keys.toSorted());
    });

    test('a group goes on where it was, after it was opened again; another one begins at the beginning', async () => {
      const topic = newTopic();
      const group = newGroup();
      {
        await using log = await open();
        await log.append([textRecord(topic, 'k', '1'), textRecord(topic, 'k', '2')]);
        await using collector = new Collector(log, [topic], { group });
        await collector.has(2);
      }
      await using log = await open();
      await log.append([textRecord(topic, 'k', '3')]);
      await using collector = new Collector(log, [topic], { group });
      await using other = new Collector(log, [topic]);
      await collector.has(1);
      await other.has(3);
      expect(collector.values).toEqual(['3']);
      expect(other.values).toEqual(['1', '2', '3']);
    });

    test('members of a group share the partitions, and take over those of one that leaves, without loss', async () => {
      await using log = await open();
      await using another = await open();
      const topic = newTopic();
      const group = newGroup();
      let number = 0;
      const appended: string[] = [];
      const appendSome = async () => {
        const records = Array.from({ length: 40 }, () => textRecord(topic, `key-${number}`, `${number++}`));
        await log.append(records);
        appended.push(...records.map(({ value }) => textOf(value)));
      };
      await appendSome();
      await using first = new Collector(log, [topic], { group });
      await first.has(1);
      const second = new Collector(another, [topic], { group });
      await until(
        'both have some',
        async () => {
          await appendSome();
          await delay(20);
          return second.batches.length > 0;
        },
        MOVE_TIMEOUT_MS,
      );
      const handledAll = () => {
        const seen = new Set([...first.values, ...second.values]);
        return appended.every((value) => seen.has(value));
      };
      await until('all are handled', handledAll);
      const before = { first: first.batches.length, second: second.batches.length };
      await appendSome();
      await until('all are handled', handledAll);
      const partitions = (collector: Collector, from: number) =>
        new Set(collector.batches.slice(from).map(({ partition }) => partition));
      const ofFirst = partitions(first, before.first);
      expect([...partitions(second, before.second)].filter((partition) => ofFirst.has(partition))).toEqual([]);
      await second.close();
      await appendSome();
      await until('all are handled', handledAll, MOVE_TIMEOUT_MS);
    });

    test('reading all gives what is there, to everybody, beside any group', async () => {
      await using log = await open();
      const topic = newTopic();
      expect([...(await valuesByKey(log, topic))]).toEqual([]);
      await log.append(Array.from({ length: 1200 }, (_, n) => textRecord(topic, `${n % 7}`, `${n}`)));
      const values = await valuesByKey(log, topic);
      expect(values.size).toBe(7);
      for (const [key, numbers] of values) {
        expect(numbers.map(Number)).toEqual(
          Array.from({ length: 1200 }, (_, n) => n).filter((n) => n % 7 === Number(key)),
        );
      }
    });

    test('the lag is what a group has not handled', async () => {
      await using log = await open();
      const topics = [newTopic(), newTopic()];
      const [first = '', second = ''] = topics;
      const group = newGroup();
      expect(await log.lag(group, topics)).toBe(0n);
      await log.append(Array.from({ length: 25 }, (_, n) => textRecord(first, `${n}`, 'x')));
      await log.append(Array.from({ length: 5 }, (_, n) => textRecord(second, `${n}`, 'x')));
      expect(await log.lag(group, topics)).toBe(30n);
      expect(await log.lag(group, [second])).toBe(5n);
      await using collector = new Collector(log, [first], { group });
      await collector.has(25);
      await until('its positions are kept', async () => (await log.lag(group, topics)) === 5n);
      expect(await log.lag(newGroup(), topics)).toBe(30n);
    });

    test('records of up to 2 MiB go, several at once; larger ones never', async () => {
      await using log = await open();
      const topic = newTopic();
      const big = (key: string, bytes: number) => ({
        topic,
        key: Buffer.from(key),
        value: randomBytes(bytes - key.length),
      });
      const records = [
        big('a', MAX_RECORD_BYTES),
        big('a', MAX_RECORD_BYTES),
        big('a', 1024 * 1024 + 4096),
        big('b', MAX_RECORD_BYTES),
      ];
      await Promise.all([log.append(records), log.append([big('a', 1024 * 1024)])]);
      await expect(log.append([big('a', MAX_RECORD_BYTES + 1)])).rejects.toBeInstanceOf(RangeError);
      await using collector = new Collector(log, [topic]);
      await collector.has(5);
      const ofA = collector.records.filter(({ key }) => textOf(key) === 'a');
      expect(Buffer.compare(ofA[0]?.value ?? Buffer.alloc(0), records[0]?.value ?? Buffer.alloc(1))).toBe(0);
      expect(ofA.map(({ value }) => value.byteLength + 1)).toEqual([
        MAX_RECORD_BYTES,
        MAX_RECORD_BYTES,
        1024 * 1024 + 4096,
        1024 * 1024,
      ]);
    });

    test('closing appends what waits and finishes the batch at hand; afterwards nothing goes', async () => {
      const topic = newTopic();
      const group = newGroup();
      const log = await open();
      await log.ping(10_000);
      await log.append([textRecord(topic, 'k', 'a')]);
      const collector = new Collector(log, [topic], { group });
      let handling = false;
      collector.before = async () => {
        handling = true;
        await delay(50);
      };
      await until('a batch is at hand', () => handling);
      const late = log.append([textRecord(topic, 'k', 'b')]);
      await Promise.all([log.close(), log.close(), collector.close(), late]);
      expect(collector.values).toEqual(['a']);
      await expect(log.append([textRecord(topic, 'k', 'c')])).rejects.toBeInstanceOf(LogUnavailableError);
      // Answered by nobody who would then keep a thread or a connection for ever.
      await expect(log.ping(1_000)).rejects.toBeInstanceOf(LogUnavailableError);
      await expect(log.lag(group, [topic])).rejects.toBeInstanceOf(LogUnavailableError);
      await expect(valuesByKey(log, topic)).rejects.toBeInstanceOf(LogUnavailableError);
      await using again = await open();
      expect(await valuesByKey(again, topic)).toEqual(new Map([['k', ['a', 'b']]]));
      expect(await again.lag(group, [topic])).toBe(1n);
    });
  });
}
