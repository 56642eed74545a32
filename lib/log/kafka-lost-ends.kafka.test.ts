import { copyFile, readdir, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type KafkaServer, startKafka } from '../../test/support/kafka.ts';
import { until } from '../../test/support/until.ts';
import { EndLostError, type KeptPosition, type Log, type LogBatch, type LostEnd } from './log.ts';
import { Collector, newGroup, newTopic, textRecord } from './log-harness.ts';
import { openLog } from './open-log.ts';

const RECOVERY_TIMEOUT_MS = 90_000;
/** Several Kafkas start at once, and start again and again. */
const TEST_TIMEOUT_MS = 300_000;
const SEGMENT = '00000000000000000000.log';

function fileOf(kafka: KafkaServer, topic: string): string {
  return join(kafka.dataDir, `${topic}-0`, SEGMENT);
}

async function append(log: Log, topic: string, ...values: string[]): Promise<void> {
  for (const value of values) await log.append([textRecord(topic, 'k', value)]);
}

async function isCommitted(log: Log, group: string, topic: string): Promise<void> {
  await until('its position is kept', async () => (await log.lag(group, [topic])) === 0n);
}

/** Keeps positions beside the group, as the store does in the transaction of its effects. */
class Keeper {
  readonly told: LostEnd[] = [];
  kept: KeptPosition | undefined;

  readonly keptPosition = async () => this.kept;
  readonly onEndLost = async (lost: LostEnd) => {
    this.told.push(lost);
    this.kept = { offset: lost.offset };
    return true;
  };
  readonly keep = ({ records, epoch }: LogBatch) => {
    this.kept = { offset: (records.at(-1)?.offset ?? 0n) + 1n, epoch };
  };
}

describe.concurrent('Kafka that loses the end of a partition', { timeout: TEST_TIMEOUT_MS }, () => {
  test('it goes on where that ends now, also where it has grown beyond that since', async () => {
    await using kafka = await startKafka();
    const options = { kafka: { brokers: [kafka.brokers] }, partitions: 1 };
    const log = await openLog(options);
    const [topic, group] = [newTopic(), newGroup()];
    const file = fileOf(kafka, topic);
    const loseEnd = async (from: number) => {
      await kafka.kill();
      await truncate(file, from);
      await kafka.restart();
    };
    const told: LostEnd[] = [];
    let refusals = 1;
    const onEndLost = async (lost: LostEnd) => {
      if (refusals-- > 0) throw new Error('not yet');
      told.push(lost);
      return true;
    };
    await append(log, topic, '0', '1', '2');
    const keptBytes = (await stat(file)).size;
    await append(log, topic, 'lost 3', 'lost 4', 'lost 5');
    await using collector = new Collector(log, [topic], { group, onEndLost });
    await collector.has(6);
    const elsewhere = newGroup();
    await using collectorElsewhere = new Collector(log, [topic], { group: elsewhere });
    await collectorElsewhere.has(6);
    for (const each of [group, elsewhere]) {
      await until('its position is kept', async () => (await log.lag(each, [topic])) === 0n);
    }
    await collectorElsewhere.close();
    await loseEnd(keptBytes);
    await until('it is told', () => told.length === 1, RECOVERY_TIMEOUT_MS);
    expect(told).toMatchObject([{ topic, partition: 0, offset: 3n, handledUntil: 6n }]);
    // One that begins only now knows but its position.
    expect(await log.lag(elsewhere, [topic])).toBe(0n);
    const toldLate: LostEnd[] = [];
    await using late = new Collector(log, [topic], {
      group: elsewhere,
      onEndLost: async (lost) => toldLate.push(lost) > 0,
    });
    await until('it is told, too', () => toldLate.length === 1, RECOVERY_TIMEOUT_MS);
    expect(toldLate).toMatchObject([{ offset: 3n, handledUntil: 6n }]);
    await append(log, topic, '3', '4');
    await Promise.all([collector.has(8), late.has(2)]);
    expect(late.values).toEqual(['3', '4']);
    await late.close();

    // While a batch is being handled the end is lost, and as much is appended anew.
    const { promise: held, resolve } = Promise.withResolvers<void>();
    let isHeld = false;
    collector.before = () => {
      isHeld = true;
      return held;
    };
    const { size } = await stat(file);
    await append(log, topic, 'lost 5');
    await until('it is being handled', () => isHeld);
    await loseEnd(size);
    await append(log, topic, '5', '6', '7');
    resolve();
    await until('the last is handled', () => collector.values.at(-1) === '7', RECOVERY_TIMEOUT_MS);
    const lost = ['lost 3', 'lost 4', 'lost 5', 'lost 5'];
    expect(collector.values.filter((value) => !lost.includes(value))).toEqual(['0', '1', '2', '3', '4', '5', '6', '7']);
    const ends = collector.errors.filter((error) => error instanceof EndLostError);
    expect(ends.map((error) => error.lost)).toEqual(told);
    expect(told[1]).toMatchObject({ offset: 5n, handledUntil: 6n });
    await log.close();
  });

  test('also while nobody consumed, and where the group has forgotten what was handled', async () => {
    await using kafka = await startKafka();
    const log = await openLog({ kafka: { brokers: [kafka.brokers] }, partitions: 1 });
    const [topic, group] = [newTopic(), newGroup()];
    const told: LostEnd[] = [];
    const consume = () => new Collector(log, [topic], { group, onEndLost: async (lost) => told.push(lost) > 0 });
    await append(log, topic, '0', '1', '2');
    const { size } = await stat(fileOf(kafka, topic));
    await append(log, topic, 'lost 3', 'lost 4');
    {
      await using collector = consume();
      await collector.has(5);
      await isCommitted(log, group, topic);
    }
    await kafka.kill();
    await truncate(fileOf(kafka, topic), size);
    await kafka.restart();
    await append(log, topic, '3', '4', '5');
    {
      await using collector = consume();
      await collector.has(3, RECOVERY_TIMEOUT_MS);
      expect(collector.values).toEqual(['3', '4', '5']);
      expect(told).toMatchObject([{ offset: 3n, handledUntil: 5n }]);
    }

    // As after a power loss of everything: what was committed is lost with the records, and the keeper's is on its disk.
    const keeper = new Keeper();
    const keeping = () => {
      const collector = new Collector(log, [topic], { group: keptGroup, ...keeper });
      collector.before = keeper.keep;
      return collector;
    };
    const keptGroup = newGroup();
    const files = [fileOf(kafka, topic), fileOf(kafka, '__consumer_offsets')];
    let sizes: number[] = [];
    {
      await using collector = keeping();
      await collector.has(6);
      await isCommitted(log, keptGroup, topic);
      sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
      await append(log, topic, 'lost 6', 'lost 7');
      await collector.has(8);
    }
    await kafka.kill();
    for (const [n, file] of files.entries()) await truncate(file, sizes[n]);
    await kafka.restart();
    await append(log, topic, '6', '7', '8');
    await using collector = keeping();
    await collector.has(3, RECOVERY_TIMEOUT_MS);
    expect(collector.values).toEqual(['6', '7', '8']);
    expect(keeper.told).toMatchObject([{ offset: 6n, handledUntil: 8n, epoch: expect.any(Number) }]);
    await log.close();
  });

  test('what an older copy of it has more is handed over', async () => {
    await using kafka = await startKafka();
    const log = await openLog({ kafka: { brokers: [kafka.brokers] }, partitions: 1 });
    const topic = newTopic();
    const file = fileOf(kafka, topic);
    const copy = join(kafka.dataDir, '..', 'copy');
    await append(log, topic, '0', '1', '2');
    const { size } = await stat(file);
    await append(log, topic, '3', '4', '5', '6', '7');
    await kafka.kill();
    await copyFile(file, copy);
    await truncate(file, size);
    await kafka.restart();
    const told: LostEnd[] = [];
    const group = newGroup();
    await using collector = new Collector(log, [topic], { group, onEndLost: async (lost) => told.push(lost) > 0 });
    await append(log, topic, 'lost 3', 'lost 4');
    await collector.has(5, RECOVERY_TIMEOUT_MS);
    await isCommitted(log, group, topic);
    await kafka.kill();
    const folder = join(kafka.dataDir, `${topic}-0`);
    for (const name of await readdir(folder)) if (name !== 'partition.metadata') await rm(join(folder, name));
    await copyFile(copy, file);
    await kafka.restart();
    await append(log, topic, '8');
    await until('the last is handled', () => collector.values.at(-1) === '8', RECOVERY_TIMEOUT_MS);
    expect(collector.values.slice(-6)).toEqual(['3', '4', '5', '6', '7', '8']);
    expect(told).toMatchObject([{ offset: 3n, handledUntil: 5n }]);
    await log.close();
  });
});
