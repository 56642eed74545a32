import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, onTestFinished, test } from 'vitest';
import { decodeIngestMessage, type IngestMessage } from '#lib/ingest/ingest-message.ts';
import { decodeOutcome } from '#lib/ingest/outcome.ts';
import { TOPICS } from '#lib/ingest/topics.ts';
import type { Log } from '#lib/log/log.ts';
import { openLog } from '#lib/log/open-log.ts';
import { until } from '../../test/support/until.ts';
import { item, oneOfMany, openPipelineOn, received } from './pipeline-testing.ts';

// The pipeline on the real log, in one folder.

async function openFolder(appendDeadlineMs?: number): Promise<{ readonly log: Log; readonly file: string }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'tideway-pipeline-'));
  const log = await openLog({ dataDir, appendDeadlineMs });
  onTestFinished(async () => {
    await log.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  return { log, file: join(dataDir, 'log.sqlite') };
}

async function messagesOf(log: Log, topic: string): Promise<IngestMessage[]> {
  const messages: IngestMessage[] = [];
  for await (const { records } of log.readAll(topic)) {
    messages.push(...records.map(({ value }) => decodeIngestMessage(value)));
  }
  return messages;
}

test('what was settled is in the log, the pieces of an attachment before their event', async () => {
  const { log } = await openFolder();
  const { pipeline } = openPipelineOn(log);
  const refused = item('refused', '{"outcome":"filtered","reason":"localhost","category":"error","quantity":1}');
  const all = Array.from({ length: 300 }, (_, n) => {
    const large = n % 100 === 0 ? [item('attachment', Buffer.alloc(1_500_000, n))] : [];
    return pipeline.accept(received([item('event', `{"n":${n}}`), refused, ...large]));
  });
  for (const accepted of all) expect(accepted.kind === 'queued' && (await accepted.settled)).toBe(true);
  expect(await messagesOf(log, TOPICS.events)).toHaveLength(297);
  const withAttachments = await messagesOf(log, TOPICS.attachments);
  const order = Map.groupBy(withAttachments, ({ eventId }) => eventId);
  expect([...order.values()].map((group) => group.map(({ type }) => type))).toEqual(
    new Array(3).fill(['attachment_chunk', 'attachment_chunk', 'event']),
  );
  let outcomes = 0;
  for await (const { records } of log.readAll(TOPICS.outcomes)) {
    for (const { value } of records) outcomes += decodeOutcome(value).quantity;
  }
  expect(outcomes).toBe(300);
});

test('while nothing can be appended, what waits is bounded, and then all of it is there', async () => {
  const { log, file } = await openFolder(200);
  const under = openPipelineOn(log, { maxQueueBytes: 1_000_000 });
  const { pipeline } = under;
  const first = pipeline.accept(received([item('event')]));
  expect(first.kind === 'queued' && (await first.settled)).toBe(true);
  const other = new DatabaseSync(file, { timeout: 5_000 });
  other.exec('begin immediate');
  const queued: Promise<boolean>[] = [];
  let sent = 0;
  await until('it is full', () => {
    for (let n = 0; n < 50; n += 1) {
      const sender = oneOfMany(under, sent++);
      const accepted = pipeline.accept(received([item('event', Buffer.alloc(5_000, ' '))], sender));
      if (accepted.kind === 'queued') queued.push(accepted.settled);
    }
    return !pipeline.ready();
  });
  expect(pipeline.counters.queuedBytes).toBeLessThanOrEqual(1_000_000);
  // Longer than an append has.
  await new Promise((resolve) => setTimeout(resolve, 500));
  other.exec('rollback');
  other.close();
  expect(new Set(await Promise.all(queued))).toEqual(new Set([true]));
  const messages = await messagesOf(log, TOPICS.events);
  // An append that came to its deadline may be there all the same, and was repeated.
  expect(new Set(messages.map(({ eventId }) => eventId)).size).toBe(queued.length + 1);
  expect(pipeline.ready()).toBe(true);
});
