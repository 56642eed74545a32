import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { INGEST_TOPICS, OUTCOME_TOPICS, TOPICS } from '#lib/ingest/topics.ts';
import { startConsumers } from '../../services/consumers/consumers.ts';
import {
  eventMessage,
  ingestRecord,
  KeptReports,
  KeptSummaries,
  newPlace,
  outcomeRecord,
  type Place,
  PROJECT,
} from '../../services/consumers/consumers-testing.ts';
import { until } from '../../test/support/until.ts';
import { type Audited, auditOutcomes, isBalanced } from './audit.ts';
import { listDeadLetters, replayDeadLetters } from './dead-letters.ts';
import { auditJson, renderAudit } from './render.ts';

const GARBAGE = { topic: TOPICS.events, key: Buffer.from('k'), value: Buffer.from('garbage') };

/** Something of every kind. */
async function appendAll({ log }: Place) {
  const event = eventMessage();
  const attachment = { id: 'a', name: 'n', contentType: undefined, attachmentType: 'event.attachment' };
  const inline = { ...attachment, sizeBytes: 3, content: { data: Buffer.from('abc') } };
  const chunked = { ...attachment, id: 'b', sizeBytes: 7, content: { chunks: 2 } };
  const withFiles = eventMessage({ attachments: [inline, chunked] });
  const { eventId, organizationId, projectId, keyId, retentionDays, startTimeMs } = withFiles;
  const owner = { eventId, organizationId, projectId, keyId, retentionDays };
  const chunk = (chunkIndex: number, text: string) =>
    ({ type: 'attachment_chunk', ...owner, id: 'b', chunkIndex, payload: Buffer.from(text) }) as const;
  const report = {
    type: 'user_report',
    ...owner,
    startTimeMs,
    payload: Buffer.from('{"comments":"it broke"}'),
  } as const;
  const alone = { type: 'attachment', ...owner, startTimeMs, attachment: { ...inline, id: 'c' } } as const;
  const broken = eventMessage({ payload: Buffer.from('{"half'), attachments: [inline] });
  // Appended twice, and reported twice more: that was appended twice, too.
  const again = { ...withFiles, startTimeMs: startTimeMs + 1 };
  const files = [chunk(0, 'abcd'), chunk(1, 'efg'), withFiles, withFiles, again, again, report, report, alone];
  await log.append([
    ...[event, event, broken].map((message) => ingestRecord(message)),
    ...files.map((message) => ingestRecord(message, TOPICS.attachments)),
    // The same event as another one, at once in another topic: either is stored.
    ingestRecord({ ...event, category: 'transaction' }, TOPICS.transactions),
    ingestRecord(eventMessage({ retentionDays: 0, startTimeMs: Date.now() - 3 * 86_400_000 })),
    GARBAGE,
    outcomeRecord({ quantity: 5 }),
    outcomeRecord({ outcome: 'invalid', reason: 'timestamp' }),
    outcomeRecord({ outcome: 'rate_limited', reason: 'quota', category: 'attachment', quantity: 1000 }, TOPICS.billing),
    outcomeRecord({ organizationId: undefined, projectId: undefined, keyId: undefined, outcome: 'invalid' }),
    { ...GARBAGE, topic: TOPICS.outcomes },
    // One append, and the same again.
    ...Array.from({ length: 2 }, () => outcomeRecord({ quantity: 2, stamp: { writer: 'a-0', sequence: 3 } })),
  ]);
  return { event, withFiles };
}

async function consumed(place: Place): Promise<AsyncDisposable> {
  const { log, store } = place;
  const consumers = startConsumers({
    log,
    store,
    live: new KeptSummaries(),
    reports: new KeptReports().add,
    now: () => 0,
  });
  await settled(place);
  return { [Symbol.asyncDispose]: () => consumers.stop() };
}

async function settled({ log }: Place): Promise<void> {
  const lags = () => Promise.all([log.lag('events', INGEST_TOPICS), log.lag('outcomes', OUTCOME_TOPICS)]);
  await until('everything is handled', async () => (await lags()).every((lag) => lag === 0n), 20_000);
}

async function audit({ log, store }: Place): Promise<Audited> {
  const result = await auditOutcomes({ log, store, now: Date.now });
  if (result.kind !== 'audited') throw new Error(renderAudit(result));
  return result;
}

async function recordsOf({ log }: Place, topic: string): Promise<number> {
  let count = 0;
  for await (const { records } of log.readAll(topic)) count += records.length;
  return count;
}

function tamper({ dataDir }: Place, sql: string): void {
  const database = new DatabaseSync(join(dataDir, 'events.sqlite'), { timeout: 5_000 });
  database.exec(sql);
  database.close();
}

test('what was received is what was accepted and every kind of refused', async () => {
  await using place = await newPlace();
  await appendAll(place);
  await using _ = await consumed(place);
  const result = await audit(place);
  expect(renderAudit(result)).toContain('\nBalanced.');
  expect(result.events).toEqual({ logged: 4, stored: 2, expired: 1, putAside: 1, missing: 0 });
  const attachments = result.rows.find(({ category, projectId }) => category === 'attachment' && projectId === PROJECT);
  expect(attachments?.received).toBe(1000n + 3n * 10n + 3n + 3n);
  expect(Object.fromEntries(attachments?.counted ?? [])).toEqual({
    rate_limited: 1000n,
    accepted: 13n,
    duplicate: 20n,
    put_aside: 3n,
  });
  expect(JSON.parse(auditJson(result))).toMatchObject({ balanced: true, fromMs: 0 });
});

test('it is not yet time while records are still to be handled', async () => {
  await using place = await newPlace();
  await appendAll(place);
  const before = await auditOutcomes({ log: place.log, store: place.store, now: Date.now });
  expect(before).toEqual({ kind: 'not_yet', behind: 22n, lost: 0n });
  expect(renderAudit(before)).toBe('Not yet: 22 records behind.');
  await using _ = await consumed(place);
  expect(isBalanced(await audit(place))).toBe(true);
});

test.each([
  ['an event that is gone', 'delete from events', 'events of the log are not stored'],
  [
    'something that was counted twice',
    "update outcome_totals set quantity = quantity + 1 where outcome = 'filtered'",
    'filtered',
  ],
  ['something that was not counted', "delete from outcome_totals where outcome = 'rate_limited'", 'rate_limited'],
  [
    'something that was counted as something else',
    `update outcome_totals set outcome = 'invalid', reason = 'duplicate'
     where outcome = 'accepted' and category = 'error'`,
    'accepted, each once',
  ],
])('%s is found', async (_, sql, what) => {
  await using place = await newPlace();
  const event = eventMessage();
  const refused = outcomeRecord({ outcome: 'rate_limited', reason: 'quota' }, TOPICS.billing);
  await place.log.append([ingestRecord(event), outcomeRecord(), refused]);
  await using __ = await consumed(place);
  expect(isBalanced(await audit(place))).toBe(true);
  tamper(place, sql);
  const result = await audit(place);
  expect(isBalanced(result)).toBe(false);
  expect(renderAudit(result)).toContain(what);
  expect(renderAudit(result)).toContain('NOT BALANCED');
});

test('of a log that was cut, counts are compared from the next whole hour on', async () => {
  await using place = await newPlace({ retentionMs: 1_000, retentionCheckMs: 50 });
  const { log } = place;
  await log.append([ingestRecord(eventMessage()), outcomeRecord()]);
  await using _ = await consumed(place);
  await until('the log is cut', async () => (await recordsOf(place, TOPICS.events)) === 0);
  const later = Date.now() + 3_600_000;
  await log.append([
    ingestRecord(eventMessage({ startTimeMs: later })),
    ingestRecord(eventMessage()),
    outcomeRecord({ timestampMs: later, quantity: 4 }),
  ]);
  await settled(place);
  const result = await audit(place);
  expect(result.fromMs).toBe(Math.floor(later / 3_600_000) * 3_600_000);
  expect(result.rows.map(({ category, received }) => [category, received])).toEqual([['error', 5n]]);
  expect(result.events).toMatchObject({ logged: 2, stored: 2 });
  expect(renderAudit(result)).toContain('Counts are compared from');
  expect(isBalanced(result)).toBe(true);
  tamper(place, `update outcome_hours set quantity = 3 where outcome = 'filtered' and hour_ms = ${result.fromMs}`);
  expect(isBalanced(await audit(place))).toBe(false);
});

test('records that the log let go before they were handled are lost, and that is said', async () => {
  await using place = await newPlace({ retentionMs: 1_000, retentionCheckMs: 50 });
  const gone = ingestRecord(eventMessage());
  await place.log.append([gone]);
  await until('the log is cut', async () => (await recordsOf(place, TOPICS.events)) === 0);
  await place.log.append([{ ...ingestRecord(eventMessage()), key: gone.key }]);
  const result = await auditOutcomes({ log: place.log, store: place.store, now: Date.now });
  expect(result).toEqual({ kind: 'not_yet', behind: 1n, lost: 1n });
  expect(renderAudit(result)).toContain('1 records expired before they were handled: they are lost.');
});

test('dead letters are appended again from where that ended, and audits stay balanced', async () => {
  await using place = await newPlace();
  const { log } = place;
  const stamp = { writer: 'a-0', sequence: 3 };
  const unknown = outcomeRecord({ stamp });
  const nobodys = Buffer.from(Buffer.from(unknown.value).toString().replace('"outcome":1', '"outcome":99'));
  await log.append([GARBAGE, GARBAGE, GARBAGE, { ...unknown, value: nobodys }]);
  await using _ = await consumed(place);
  const letters: string[] = [];
  for await (const { topic, reason } of listDeadLetters(log, [...INGEST_TOPICS, ...OUTCOME_TOPICS])) {
    letters.push(`${topic}: ${reason}`);
  }
  expect(letters).toEqual([
    ...Array(3).fill('ingest-events: not MessagePack'),
    'outcomes: outcome is no number of an outcome',
  ]);
  expect(await replayDeadLetters({ log, topics: [TOPICS.events], limit: 2 })).toMatchObject({
    appended: 2,
    skipped: 0,
  });
  await settled(place);
  // Two that became dead letters anew are behind the third.
  expect(await replayDeadLetters({ log, topics: [TOPICS.outcomes], limit: Infinity })).toMatchObject({ appended: 1 });
  const rest = await replayDeadLetters({ log, topics: [TOPICS.events], limit: Infinity });
  expect(rest.appended).toBe(3);
  await settled(place);
  const { rows } = await audit(place);
  expect(rows.map(({ category, received }) => [category, received])).toEqual([['default', 8n]]);
  expect(isBalanced(await audit(place))).toBe(true);
});
