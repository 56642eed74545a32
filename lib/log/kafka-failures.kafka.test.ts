import { setTimeout as delay } from 'node:timers/promises';
import { Admin } from '@platformatic/kafka';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../test/support/free-port.ts';
import { type KafkaServer, startKafka } from '../../test/support/kafka.ts';
import { startKafkaProxy } from '../../test/support/kafka-proxy.ts';
import { makeTlsFiles } from '../../test/support/redis.ts';
import { until } from '../../test/support/until.ts';
import { LogUnavailableError, RecordRefusedError } from './log.ts';
import { Collector, newGroup, newTopic, textRecord, valuesByKey } from './log-harness.ts';
import { openLog } from './open-log.ts';

const RECOVERY_TIMEOUT_MS = 40_000;
/** Several Kafkas start at once. */
const TEST_TIMEOUT_MS = 120_000;

describe.concurrent('Kafka', { timeout: TEST_TIMEOUT_MS }, () => {
  let shared: KafkaServer;
  beforeAll(async () => {
    shared = await startKafka();
  });
  afterAll(() => shared.stop());

  test('records whose answers are lost, again and again, are there once and in order', async () => {
    await using proxy = await startKafkaProxy();
    await using kafka = await startKafka({ advertisedPort: proxy.port });
    proxy.target = kafka.port;
    const log = await openLog({ kafka: { brokers: [`127.0.0.1:${proxy.port}`] } });
    const topic = newTopic();
    await log.append([textRecord(topic, 'k', '0')]);
    let number = 1;
    for (let round = 0; round < 8; round++) {
      // Requests reach Kafka, answers nobody; then the connections are gone.
      proxy.loseAnswers = true;
      const appends = Array.from({ length: 5 }, () => log.append([textRecord(topic, 'k', `${number++}`)]));
      await delay(100);
      proxy.cut();
      proxy.loseAnswers = false;
      await Promise.all(appends);
    }
    const values = await valuesByKey(log, topic);
    expect(values.get('k')?.map(Number)).toEqual(Array.from({ length: number }, (_, n) => n));
    await log.close();
  });

  test('a broker that stands still costs deadlines, and all goes on when it goes on', async () => {
    await using kafka = await startKafka();
    const log = await openLog({ kafka: { brokers: [kafka.brokers] }, appendDeadlineMs: 1500 });
    const topic = newTopic();
    const acknowledged: string[] = [];
    const append = async (value: string) => {
      await log.append([textRecord(topic, value, value)]);
      acknowledged.push(value);
    };
    await until('it is up', () => append('before').then(() => true), RECOVERY_TIMEOUT_MS);
    await using collector = new Collector(log, [topic]);
    await collector.has(1);
    kafka.pause();
    const isRefused = (append: Promise<void>) =>
      append.then(
        () => false,
        () => true,
      );
    await until('it stands still', () => isRefused(append('probe')));
    const startMs = performance.now();
    for (let n = 0; n < 3; n++) await expect(append(`late ${n}`)).rejects.toBeInstanceOf(LogUnavailableError);
    await expect(log.ping(300)).rejects.toBeInstanceOf(LogUnavailableError);
    expect(performance.now() - startMs).toBeLessThan(10_000);
    kafka.resume();
    await until('it goes on', () => append('after').then(() => true), RECOVERY_TIMEOUT_MS);
    await until(
      'all that was acknowledged is handled',
      () => acknowledged.every((value) => collector.values.includes(value)),
      RECOVERY_TIMEOUT_MS,
    );
    await log.close();
  });

  test('records that retention took before they were handled are passed over', async () => {
    const log = await openLog({ kafka: { brokers: [shared.brokers] }, retentionMs: 1500, partitions: 1 });
    const topic = newTopic();
    const group = newGroup();
    // Each may be gone before a group of a busy machine has formed.
    const appendUntilHandled = (collector: Collector, value: string) =>
      until(
        `${value} is handled`,
        async () => {
          await log.append([textRecord(topic, 'k', value)]);
          await delay(300);
          return collector.records.length > 0;
        },
        RECOVERY_TIMEOUT_MS,
      );
    const collector = new Collector(log, [topic], { group });
    await appendUntilHandled(collector, 'first');
    await collector.close();
    await log.append([textRecord(topic, 'k', 'lost')]);
    await until('it is gone', async () => (await log.lag(group, [topic])) === 0n, RECOVERY_TIMEOUT_MS);
    await using again = new Collector(log, [topic], { group });
    await appendUntilHandled(again, 'next');
    expect(new Set(again.values)).toEqual(new Set(['next']));
    await log.close();
  });

  test('a topic that somebody deleted is made anew, with another id', async () => {
    const log = await openLog({ kafka: { brokers: [shared.brokers] }, appendDeadlineMs: 2000 });
    const topic = newTopic();
    await until(
      'it is made',
      () => log.append([textRecord(topic, 'k', 'before')]).then(() => true),
      RECOVERY_TIMEOUT_MS,
    );
    await using collector = new Collector(log, [topic]);
    await collector.has(1);
    const admin = new Admin({ clientId: 'test', bootstrapBrokers: [shared.brokers] });
    await admin.deleteTopics({ topics: [topic] });
    await admin.close();
    const topicIds = () => new Set(collector.batches.map(({ topicId }) => topicId));
    // The first of these may still be taken by the one that is being deleted.
    const goesOn = () => log.append([textRecord(topic, 'k', 'after')]).then(() => topicIds().size > 1);
    await until('appends go on in another', goesOn, RECOVERY_TIMEOUT_MS);
    await until('it is handled', () => collector.values.includes('after'), RECOVERY_TIMEOUT_MS);
    expect(topicIds().size).toBe(2);
    await log.close();
  });

  test('where it was set back to before an epoch that somebody keeps it goes on, and a topic that was made anew is begun', async () => {
    const log = await openLog({ kafka: { brokers: [shared.brokers] }, partitions: 1 });
    const topic = newTopic();
    await log.append(['0', '1', '2'].map((value) => textRecord(topic, 'k', value)));
    let refusals = 1;
    const keptPosition = async () => {
      if (refusals-- > 0) throw new Error('not yet');
      return { offset: 1n, epoch: 99 };
    };
    await using collector = new Collector(log, [topic], { keptPosition });
    await collector.has(2);
    expect(collector.values).toEqual(['1', '2']);
    expect(collector.errors).toMatchObject([{ message: 'not yet' }, expect.any(LogUnavailableError)]);
    // Nothing of it was handled by whoever is told: it is a topic that was made anew.
    await using anew = new Collector(log, [topic], {
      keptPosition: async () => ({ offset: 5n, epoch: 0 }),
      onEndLost: async () => false,
    });
    await anew.has(3);
    expect(anew.values).toEqual(['0', '1', '2']);
    expect(anew.errors).toEqual([]);
    await log.close();
  });

  test('what a topic that others made does not take is refused for good, and takes no other with it', async () => {
    const log = await openLog({ kafka: { brokers: [shared.brokers] } });
    const topic = newTopic();
    const admin = new Admin({ clientId: 'test', bootstrapBrokers: [shared.brokers] });
    const configs = [{ name: 'max.message.bytes', value: '10000' }];
    await admin.createTopics({ topics: [topic], partitions: 3, replicas: 1, configs });
    await admin.close();
    await until('it can be used', () => log.append([textRecord(topic, 'k', 'first')]).then(() => true));
    const large = { topic, key: Buffer.from('k'), value: Buffer.alloc(20_000) };
    const appends = [
      [textRecord(topic, 'a', '1')],
      [textRecord(topic, 'b', '2'), large],
      [textRecord(topic, 'k', '3')],
    ];
    const results = await Promise.allSettled(appends.map((records) => log.append(records)));
    expect(results).toMatchObject([
      { status: 'fulfilled' },
      { status: 'rejected', reason: expect.any(RecordRefusedError) },
      { status: 'fulfilled' },
    ]);
    const values = await valuesByKey(log, topic);
    expect([new Set(values.get('a')), new Set(values.get('k'))]).toEqual([new Set(['1']), new Set(['first', '3'])]);
    await log.close();
  });

  test('clients come by TLS, with a name and a password; with another one they do not', async () => {
    await using tls = await makeTlsFiles();
    const [username, password] = ['tideway', 'a-secret-password'];
    await using kafka = await startKafka({ secured: { ...tls, username, password } });
    const settings = { brokers: [kafka.brokers], tls: { caFile: tls.caFile } };
    const sasl = { mechanism: 'PLAIN', username, password } as const;
    const log = await openLog({ kafka: { ...settings, sasl } });
    const topic = newTopic();
    await log.append([textRecord(topic, 'k', 'v')]);
    await using collector = new Collector(log, [topic]);
    await collector.has(1);
    await log.close();

    for (const kafkaSettings of [
      { ...settings, sasl: { ...sasl, password: 'another-password' } },
      { brokers: settings.brokers, sasl },
      { brokers: settings.brokers, tls: {}, sasl },
    ]) {
      const stranger = await openLog({ kafka: kafkaSettings, appendDeadlineMs: 3000 });
      const error = await stranger.append([textRecord(topic, 'k', 'v')]).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(LogUnavailableError);
      expect((error as Error).message).not.toContain('password');
      await expect(stranger.ping(2000)).rejects.toBeInstanceOf(LogUnavailableError);
      await stranger.close();
    }
  });

  test('where there is no Kafka everything says so in time, and closing takes no longer', async () => {
    const log = await openLog({ kafka: { brokers: [`127.0.0.1:${await freePort()}`] }, appendDeadlineMs: 500 });
    await using collector = new Collector(log, ['topic']);
    await expect(log.ping(1000)).rejects.toBeInstanceOf(LogUnavailableError);
    await expect(log.append([textRecord('topic', 'k', 'v')])).rejects.toBeInstanceOf(LogUnavailableError);
    await expect(log.lag('group', ['topic'])).rejects.toBeInstanceOf(LogUnavailableError);
    await expect(valuesByKey(log, 'topic')).rejects.toBeInstanceOf(LogUnavailableError);
    await until('the consumer says so too', () => collector.errors.length > 0);
    const startMs = performance.now();
    await log.close();
    expect(performance.now() - startMs).toBeLessThan(20_000);
  });
});
