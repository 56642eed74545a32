import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import type { AppendUntilKilled } from './append-until-killed.ts';
import type { ConsumeUntilKilled } from './consume-until-killed.ts';
import { LogFullError, LogUnavailableError, RecordsLostError } from './log.ts';
import type { ContractOptions } from './log-contract.ts';
import { Collector, newGroup, newTopic, openIn, textRecord, valuesByKey } from './log-harness.ts';

const APPENDER = fileURLToPath(new URL('./append-until-killed.ts', import.meta.url));
const CONSUMER = fileURLToPath(new URL('./consume-until-killed.ts', import.meta.url));
const KEYS = 8;
const RECOVERY_TIMEOUT_MS = 40_000;
const TEST_TIMEOUT_MS = 60_000;

/** What log.ts promises while something fails. */
export function describeLogFailures(name: string, { atOnce, newSpace }: ContractOptions): void {
  (atOnce ? describe.concurrent : describe)(`log failures: ${name}`, { timeout: TEST_TIMEOUT_MS }, () => {
    test('a process that is killed loses nothing of what was acknowledged', async () => {
      await using space = await newSpace();
      const topic = newTopic();
      for (const [life, untilKilled] of [300, 1, 57].entries()) {
        const ofLife = `${topic}-${life}`;
        const acknowledged = await appendUntilKilled({ log: space.options, topic: ofLife, keys: KEYS }, untilKilled);
        await using log = await openIn(space);
        const values = await valuesByKey(log, ofLife);
        for (const [key, count] of acknowledged) {
          const found = [...new Set(values.get(key)?.map(Number))];
          // What was under way may be there too.
          expect(found.length).toBeGreaterThanOrEqual(count);
          expect(found).toEqual(Array.from(found, (_, number) => number));
        }
        await log.append([textRecord(ofLife, '0', 'on it goes')]);
      }
    });

    test('what a consumer that is killed had not handled goes to another one', async () => {
      await using space = await newSpace();
      const topic = newTopic();
      const group = newGroup();
      await using log = await openIn(space);
      const values = Array.from({ length: 300 }, (_, n) => `${n}`);
      await log.append(values.map((value) => textRecord(topic, `key-${value}`, value)));
      const consumption: ConsumeUntilKilled = { log: space.options, topic, group, batchMs: 5 };
      const handled = await linesUntilKilled(CONSUMER, consumption, 40);
      await using collector = new Collector(log, [topic], { group });
      await until(
        'the rest is handled',
        () => values.every((value) => handled.includes(value) || collector.values.includes(value)),
        RECOVERY_TIMEOUT_MS,
      );
      expect(new Set(handled).size).toBe(handled.length);
      // Its last batches come again, not everything.
      expect(collector.records.length).toBeLessThan(values.length);
    });

    test('while appends are impossible they wait within bounds and deadlines, and go on afterwards', async () => {
      await using space = await newSpace();
      const topic = newTopic();
      await using log = await openIn(space, { appendDeadlineMs: 4000, limits: { maxWaitingBytes: 10_000 } });
      await log.append([textRecord(topic, 'k', 'before')]);
      const group = newGroup();
      await using collector = new Collector(log, [topic], { group });
      await collector.has(1);
      // Otherwise it comes again, as it may.
      await until('its position is kept', async () => (await log.lag(group, [topic])) === 0n);

      const mend = await space.breakAppends();
      const value = Buffer.alloc(2999);
      const startMs = performance.now();
      const waiting = Array.from({ length: 3 }, () => log.append([{ topic, key: Buffer.from('x'), value }]));
      const tooMuch = log.append([{ topic, key: Buffer.from('x'), value }]);
      await expect(tooMuch).rejects.toBeInstanceOf(LogFullError);
      expect(performance.now() - startMs).toBeLessThan(3000);
      for (const outcome of await Promise.allSettled(waiting)) {
        expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(LogUnavailableError) });
      }
      expect(performance.now() - startMs).toBeLessThan(20_000);
      await expect(log.ping(200)).rejects.toBeInstanceOf(LogUnavailableError);

      await mend();
      await until(
        'it goes on',
        async () => {
          await log.append([textRecord(topic, 'k', 'after')]);
          return true;
        },
        RECOVERY_TIMEOUT_MS,
      );
      await log.ping(5000);
      await until('it is handled', () => collector.values.includes('after'), RECOVERY_TIMEOUT_MS);
      expect(collector.values.filter((each) => each === 'before')).toHaveLength(1);
    });

    test('what waits when it breaks is appended when it is mended, in its order', async () => {
      await using space = await newSpace();
      const topic = newTopic();
      await using log = await openIn(space, { appendDeadlineMs: RECOVERY_TIMEOUT_MS });
      await log.append([textRecord(topic, 'k', '0')]);
      const mend = await space.breakAppends();
      const appends: Promise<void>[] = [];
      for (let n = 1; n <= 50; n++) {
        appends.push(log.append([textRecord(topic, 'k', `${n}`)]));
        if (n % 10 === 0) await delay(20);
      }
      await mend();
      await Promise.all(appends);
      let values: number[] = [];
      await until(
        'it can be read again',
        async () => {
          values = (await valuesByKey(log, topic)).get('k')?.map(Number) ?? [];
          return true;
        },
        RECOVERY_TIMEOUT_MS,
      );
      expect([...new Set(values)]).toEqual(Array.from({ length: 51 }, (_, n) => n));
    });

    test('what is older than the retention goes, handled or not, and the rest goes on', async () => {
      await using space = await newSpace();
      const topic = newTopic();
      const group = newGroup();
      await using log = await openIn(space, { retentionMs: 3000 });
      const old = Array.from({ length: 1500 }, (_, n) => textRecord(topic, `${n}`, 'old'));
      await log.append(old);
      expect(await log.lag(group, [topic])).toBe(1500n);
      await until('the old ones are gone', async () => (await log.lag(group, [topic])) === 0n, RECOVERY_TIMEOUT_MS);
      await using collector = new Collector(log, [topic], { group });
      // One may be gone, too, before a group of a busy machine has formed.
      await until(
        'a new one is handled',
        async () => {
          await log.append([textRecord(topic, 'k', 'new')]);
          await delay(300);
          return collector.records.length > 0;
        },
        RECOVERY_TIMEOUT_MS,
      );
      expect(new Set(collector.values)).toEqual(new Set(['new']));
      expect(collector.records[0]?.offset).toBeGreaterThan(0n);
    });

    test('a group that has lost records to the retention hears how many, once', async () => {
      await using space = await newSpace();
      const [topic, group] = [newTopic(), newGroup()];
      await using log = await openIn(space, { retentionMs: 3000 });
      const records = (count: number, value: string) =>
        Array.from({ length: count }, () => textRecord(topic, 'k', value));
      {
        await log.append(records(10, 'handled'));
        await using collector = new Collector(log, [topic], { group });
        await collector.has(10);
        await until('its position is kept', async () => (await log.lag(group, [topic])) === 0n);
      }
      await log.append(records(100, 'lost'));
      await until('they are gone', async () => (await log.lag(group, [topic])) === 0n, RECOVERY_TIMEOUT_MS);
      await using collector = new Collector(log, [topic], { group });
      let refusals = 3;
      collector.before = () => {
        if (refusals-- > 0) throw new Error('not yet');
      };
      await until(
        'a new one is handled',
        async () => {
          await log.append(records(1, 'new'));
          await delay(300);
          return collector.records.length > 0;
        },
        RECOVERY_TIMEOUT_MS,
      );
      const lost = collector.errors.filter((error) => error instanceof RecordsLostError);
      expect(lost.every((error) => error.topic === topic && error.records > 0n)).toBe(true);
      // Those that were new may have gone, too, on a busy machine.
      expect(10n + lost.reduce((sum, error) => sum + error.records, 0n)).toBe(collector.records[0]?.offset);
    });
  });
}

/** How many of each key were acknowledged: 0, 1, 2, … */
async function appendUntilKilled(options: AppendUntilKilled, untilKilled: number): Promise<Map<string, number>> {
  const acknowledged = new Map<string, number>();
  for (const line of await linesUntilKilled(APPENDER, options, untilKilled)) {
    const [key = '', number = ''] = line.split(' ');
    expect(Number(number)).toBe(acknowledged.get(key) ?? 0);
    acknowledged.set(key, Number(number) + 1);
  }
  return acknowledged;
}

/** What a program printed, which was killed once it had printed so many lines. */
async function linesUntilKilled(
  program: string,
  options: AppendUntilKilled | ConsumeUntilKilled,
  untilKilled: number,
): Promise<string[]> {
  const child = spawn(process.execPath, [program, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (lines.push(line) === untilKilled) child.kill('SIGKILL');
  }
  await exited;
  expect(child.signalCode).toBe('SIGKILL');
  return lines;
}
