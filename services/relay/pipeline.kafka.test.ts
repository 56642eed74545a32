import { expect, test } from 'vitest';
import { decodeIngestMessage } from '#lib/ingest/ingest-message.ts';
import { TOPICS } from '#lib/ingest/topics.ts';
import { openLog } from '#lib/log/open-log.ts';
import { startKafka } from '../../test/support/kafka.ts';
import { startKafkaProxy } from '../../test/support/kafka-proxy.ts';
import { until } from '../../test/support/until.ts';
import { item, oneOfMany, openPipelineOn, received } from './pipeline-testing.ts';

test('while Kafka takes long for each answer, what waits is bounded, and then all of it is there', {
  timeout: 120_000,
}, async () => {
  await using proxy = await startKafkaProxy();
  await using kafka = await startKafka({ advertisedPort: proxy.port });
  proxy.target = kafka.port;
  const log = await openLog({ kafka: { brokers: [`127.0.0.1:${proxy.port}`] } });
  const maxQueueBytes = 1_000_000;
  const under = openPipelineOn(log, { maxQueueBytes });
  const { pipeline, errors } = under;
  const refused = item('refused', '{"outcome":"filtered","reason":"localhost","category":"error","quantity":1}');
  let sent = 0;
  const send = (bytes: number) =>
    pipeline.accept(received([item('event', Buffer.alloc(bytes, ' ')), refused], oneOfMany(under, sent++)));
  const first = send(10);
  expect(first.kind === 'queued' && (await first.settled)).toBe(true);

  proxy.delayAnswers(500);
  const queued: Promise<boolean>[] = [];
  const fill = async () => {
    while (pipeline.ready()) {
      const accepted = send(5_000);
      expect(pipeline.counters.queuedBytes).toBeLessThanOrEqual(maxQueueBytes);
      if (accepted.kind === 'queued') queued.push(accepted.settled);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await fill();
  const full = queued.length;
  await until('it goes on, slowly', () => pipeline.counters.queuedBytes < maxQueueBytes / 2, 30_000);
  await fill();
  expect(queued.length).toBeGreaterThan(full);
  proxy.delayAnswers(0);
  expect(new Set(await Promise.all(queued))).toEqual(new Set([true]));
  const ids: string[] = [];
  for await (const { records } of log.readAll(TOPICS.events)) {
    ids.push(...records.map(({ value }) => decodeIngestMessage(value).eventId));
  }
  expect(new Set(ids).size).toBe(queued.length + 1);
  expect(errors).toEqual([]);
  expect(pipeline.ready()).toBe(true);
  await log.close();
});
