import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import { eventMessage, ingestRecord, KeptReports, KeptSummaries, newPlace, PROJECT } from './consumers-testing.ts';
import { PortLivePublisher } from './port-live-publisher.ts';
import { startConsumersThread } from './thread.ts';

const START = { databaseUrl: undefined };

test('the thread saves what is in the log, tells of it here, and ends in good order', async () => {
  await using place = await newPlace();
  const { dataDir, log, store } = place;
  const live = new KeptSummaries();
  const reports = new KeptReports();
  const parts = startConsumersThread({ store: { ...START, dataDir }, log: { dataDir }, live, reports: reports.add });
  const events = Array.from({ length: 50 }, () => eventMessage());
  const garbage = { topic: 'ingest-events', key: Buffer.from('k'), value: Buffer.from('garbage') };
  await log.append([...events.map((event) => ingestRecord(event)), garbage]);
  await until('all are told of', () => live.summaries.length === 50, 20_000);
  expect(live.summaries[0]).toMatchObject({ projectId: PROJECT, title: 'Hello' });
  for (const { eventId } of events) expect(await store.get(PROJECT, eventId)).toBeDefined();
  await parts.drain?.(1_000);
  await parts.drain?.(1_000);
  expect(reports.messages).toEqual(['records were put aside as dead letters']);
  // It has given up its part of the group at once: who comes next need not wait for it.
  const next = eventMessage();
  await log.append([ingestRecord(next)]);
  const again = startConsumersThread({ store: { ...START, dataDir }, log: { dataDir }, live, reports: reports.add });
  await until('the next one has it', () => live.summaries.length === 51, 20_000);
  await again.drain?.(1_000);
});

test('a thread that dies is started again, with pauses that grow, until it is stopped', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-thread-'));
  const file = join(folder, 'dying.mjs');
  await writeFile(file, 'throw new Error("dying");');
  const reports = new KeptReports();
  const parts = startConsumersThread({
    store: { dataDir: folder },
    log: { dataDir: folder },
    live: new KeptSummaries(),
    reports: reports.add,
    workerUrl: pathToFileURL(file),
  });
  await until('it has died twice', () => reports.all.length >= 2, 20_000);
  const pauses = reports.all.map(({ fields }) => Number(fields['inMs']));
  expect(pauses.slice(0, 2)).toEqual([100, 200]);
  expect(String(reports.all[0]?.fields['error'])).toContain('dying');
  await parts.drain?.(1_000);
  const { length } = reports.all;
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(reports.all).toHaveLength(length);
  await rm(folder, { recursive: true });
});

test('a port carries no more summaries than the other side takes', () => {
  const sent: number[] = [];
  const reports = new KeptReports();
  const live = new PortLivePublisher({
    send: (summaries) => sent.push(summaries.length),
    reports: reports.add,
    maxUnderWay: 10,
  });
  const event = { ...eventMessage(), title: '', level: '', culprit: '', platform: '', release: '', environment: '' };
  const summaries = Array.from({ length: 8 }, () => ({ ...event, timeMs: 0 }));
  live.publish(summaries);
  live.publish(summaries);
  live.publish(summaries);
  expect(sent).toEqual([8, 2]);
  live.taken(8);
  live.publish(summaries);
  expect(sent).toEqual([8, 2, 8]);
  expect(reports.all.map(({ fields }) => fields['unpublished'])).toEqual([undefined, 14]);
});
