import { encode } from '@msgpack/msgpack';
import { describe, expect, test } from 'vitest';
import type { EffectBatch, EventStore, OutcomeTotal } from '#lib/event-store/event-store.ts';
import { decodeDeadLetter } from '#lib/ingest/dead-letter.ts';
import { deadLetterTopic, INGEST_TOPICS, OUTCOME_TOPICS, TOPICS } from '#lib/ingest/topics.ts';
import { LogUnavailableError, MAX_RECORD_BYTES, type NewRecord } from '#lib/log/log.ts';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { until } from '../../test/support/until.ts';
import { startConsumers } from './consumers.ts';
import {
  eventMessage,
  ingestRecord,
  KeptReports,
  KeptSummaries,
  newPlace,
  outcomeRecord,
  type Place,
  PROJECT,
} from './consumers-testing.ts';

interface Running extends AsyncDisposable {
  readonly live: KeptSummaries;
  readonly reports: KeptReports;
}

function run(place: Place, store: EventStore = place.store, log = place.log): Running {
  const live = new KeptSummaries();
  const reports = new KeptReports();
  const consumers = startConsumers({ log, store, live, reports: reports.add, now: Date.now });
  return { live, reports, [Symbol.asyncDispose]: () => consumers.stop() };
}

async function handled({ log }: Place): Promise<void> {
  const lags = () => Promise.all([log.lag('events', INGEST_TOPICS), log.lag('outcomes', OUTCOME_TOPICS)]);
  await until('everything is handled', async () => (await lags()).every((lag) => lag === 0n), 20_000);
}

async function counts({ store }: Place): Promise<Record<string, number>> {
  const totals = await store.totals();
  const name = ({ projectId, outcome, reason, category }: OutcomeTotal) =>
    `${projectId} ${category} ${outcome}${reason === '' ? '' : ` ${reason}`}`;
  return Object.fromEntries(totals.map((total) => [name(total), Number(total.quantity)]));
}

async function deadLetters({ log }: Place, topic: string) {
  const letters = [];
  for await (const { records } of log.readAll(deadLetterTopic(topic))) {
    letters.push(...records.map(({ key, value }) => ({ key, letter: decodeDeadLetter(value) })));
  }
  return letters;
}

/** The real store, whose next calls of `apply` fail. */
function failing(store: EventStore, fail: (batch: EffectBatch) => Error | undefined): EventStore {
  return new Proxy(store, {
    get(target, name) {
      if (name !== 'apply') {
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      }
      return async (batch: EffectBatch) => {
        const error = fail(batch);
        if (error !== undefined) throw error;
        return target.apply(batch);
      };
    },
  });
}

describe('consumers', () => {
  test('events are saved once and told of once, and everything is counted', async () => {
    await using place = await newPlace();
    const { log, store } = place;
    const event = eventMessage();
    const other = eventMessage({ category: 'transaction' });
    await log.append([
      ingestRecord(event),
      ingestRecord({ ...event, startTimeMs: event.startTimeMs + 1 }),
      ingestRecord(other, TOPICS.transactions),
      outcomeRecord({ quantity: 3 }),
      outcomeRecord({ outcome: 'rate_limited', reason: 'quota' }, TOPICS.billing),
    ]);
    await using running = run(place);
    await handled(place);
    expect(Buffer.from((await store.get(PROJECT, event.eventId))?.body ?? '').toString()).toBe(
      Buffer.from(event.payload).toString(),
    );
    expect((await store.get(PROJECT, other.eventId))?.category).toBe('transaction');
    expect(await counts(place)).toEqual({
      '22 error accepted': 1,
      '22 error invalid duplicate': 1,
      '22 transaction accepted': 1,
      '22 error filtered localhost': 3,
      '22 error rate_limited quota': 1,
    });
    expect(running.live.summaries.map(({ eventId }) => eventId).sort()).toEqual([event.eventId, other.eventId].sort());
    expect(running.reports.all).toEqual([]);
  });

  test('what can not be read is a dead letter with a reason, is counted, and holds up nothing', async () => {
    await using place = await newPlace();
    const { log, store } = place;
    const bad = eventMessage({ payload: Buffer.from('{"half') });
    const good = eventMessage();
    const garbage: NewRecord = { topic: TOPICS.events, key: Buffer.from('k'), value: Buffer.from('garbage') };
    const noOutcome: NewRecord = { topic: TOPICS.outcomes, key: Buffer.from('k'), value: Buffer.from('{}') };
    await log.append([ingestRecord(bad), garbage, ingestRecord(good), noOutcome, outcomeRecord()]);
    await using running = run(place);
    await handled(place);
    expect(await store.get(PROJECT, good.eventId)).toBeDefined();
    expect(await counts(place)).toEqual({
      '22 error invalid internal': 1,
      '0 default invalid internal': 1,
      '22 error accepted': 1,
      '22 error filtered localhost': 1,
    });
    const letters = await deadLetters(place, TOPICS.events);
    expect(letters.map(({ letter }) => letter.reason).sort()).toEqual([
      'not MessagePack',
      'the event is not JSON in UTF-8',
    ]);
    const letter = letters.find(({ letter: { reason } }) => reason.includes('JSON'))?.letter;
    const sent = ingestRecord(bad);
    expect(letter).toMatchObject({ topic: TOPICS.events, valueBytes: sent.value.byteLength });
    expect(Buffer.from(letter?.value ?? []).equals(sent.value)).toBe(true);
    expect(Buffer.from(letter?.key ?? []).equals(sent.key)).toBe(true);
    expect(await deadLetters(place, TOPICS.outcomes)).toHaveLength(1);
    expect(running.reports.messages).toContain('records were put aside as dead letters');
    expect(JSON.stringify(running.reports.all)).not.toContain('half');
  });

  test('what its reader itself fails on, whatever it is, is a dead letter and is counted, too', async () => {
    await using place = await newPlace();
    const { log, store } = place;
    // Neither text nor a number, nor to be made one.
    const neither = { toString: 1, valueOf: 1 };
    const event = eventMessage();
    const cursed = { type: 'event', event_id: event.eventId, project_id: Number(PROJECT), category: neither };
    const good = ingestRecord(event);
    const json = { timestamp: neither, outcome: 1, category: 1 };
    const longKey = Buffer.alloc(MAX_RECORD_BYTES - 10, 'k');
    const key = Buffer.from(good.key);
    await log.append([
      { topic: TOPICS.events, key, value: encode(cursed) },
      { topic: TOPICS.events, key: longKey, value: Buffer.from('garbage') },
      { topic: TOPICS.outcomes, key: Buffer.from('outcome'), value: Buffer.from(JSON.stringify(json)) },
      good,
      outcomeRecord(),
    ]);
    await using _ = run(place);
    await handled(place);
    expect(await store.get(PROJECT, event.eventId)).toBeDefined();
    expect(await counts(place)).toEqual({
      '0 default invalid internal': 2,
      '22 error accepted': 1,
      '22 error filtered localhost': 1,
    });
    const letters = await deadLetters(place, TOPICS.events);
    expect(letters.map(({ letter }) => letter.valueBytes).toSorted()).toEqual([7, encode(cursed).byteLength]);
    expect(await deadLetters(place, TOPICS.outcomes)).toHaveLength(1);
  });

  test('while the store is away nothing moves; then everything has its effect once', async () => {
    await using place = await newPlace();
    const events = Array.from({ length: 30 }, () => eventMessage());
    const bad: NewRecord = { topic: TOPICS.events, key: Buffer.from('k'), value: Buffer.from('garbage') };
    await place.log.append([...events.map((event) => ingestRecord(event)), bad]);
    let failures = 0;
    const store = failing(place.store, ({ group }) =>
      group === 'events' && failures++ < 5 ? new StoreUnavailableError('away') : undefined,
    );
    await using running = run(place, store);
    await handled(place);
    expect(await counts(place)).toEqual({ '22 error accepted': 30, '0 default invalid internal': 1 });
    expect(await deadLetters(place, TOPICS.events)).toHaveLength(1);
    expect(running.live.summaries).toHaveLength(30);
    const told = running.reports.messages.filter((message) => message.startsWith('consuming'));
    expect(told).toEqual(['consuming is held up', 'consuming goes on']);
  });

  test('what was applied and not acknowledged has its effect once', async () => {
    await using place = await newPlace();
    await place.log.append([...Array.from({ length: 20 }, () => ingestRecord(eventMessage())), outcomeRecord()]);
    let failures = 0;
    const store = failing(place.store, () => undefined);
    const losing: EventStore = new Proxy(store, {
      get(target, name) {
        if (name !== 'apply') return Reflect.get(target, name);
        return async (batch: EffectBatch) => {
          const fresh = await place.store.apply(batch);
          if (failures++ < 4) throw new StoreUnavailableError('the answer was lost');
          return fresh;
        };
      },
    });
    await using _ = run(place, losing);
    await handled(place);
    expect(await counts(place)).toEqual({ '22 error accepted': 20, '22 error filtered localhost': 1 });
  });

  test('a record that the store fails on for ever is found and put aside', async () => {
    await using place = await newPlace();
    const events = Array.from({ length: 10 }, () => eventMessage());
    const cursed = events[4]?.eventId;
    await place.log.append(events.map((event) => ingestRecord(event)));
    const store = failing(place.store, ({ effects }) =>
      effects.some((effect) => effect.kind === 'event' && effect.event.eventId === cursed)
        ? new TypeError('a value that no column takes')
        : undefined,
    );
    await using running = run(place, store);
    await handled(place);
    expect(await counts(place)).toEqual({ '22 error accepted': 9, '22 error invalid internal': 1 });
    expect((await deadLetters(place, TOPICS.events)).map(({ letter }) => letter.reason)).toEqual([
      'the store did not take it: TypeError',
    ]);
    expect(running.live.summaries).toHaveLength(9);
  });

  test('a store that takes nothing at all moves nothing', async () => {
    await using place = await newPlace();
    await place.log.append(Array.from({ length: 5 }, () => ingestRecord(eventMessage())));
    let broken = true;
    const store = failing(place.store, () => (broken ? new TypeError('no such table') : undefined));
    await using running = run(place, store);
    await until('it has tried', () => running.reports.messages.includes('consuming is held up'));
    expect(await place.log.lag('events', INGEST_TOPICS)).toBe(5n);
    broken = false;
    await handled(place);
    expect(await counts(place)).toEqual({ '22 error accepted': 5 });
  });

  test('what the log kept for too short a time to be handled is said', async () => {
    await using place = await newPlace({ retentionMs: 2_000, retentionCheckMs: 50 });
    const event = eventMessage();
    // Of one partition.
    const append = () => place.log.append([ingestRecord(event)]);
    await append();
    {
      await using _ = run(place);
      await handled(place);
    }
    for (let n = 0; n < 3; n++) await append();
    await until('they are gone', async () => (await place.log.lag('events', INGEST_TOPICS)) === 0n, 20_000);
    await using running = run(place);
    await until('it is said', async () => {
      await append();
      return running.reports.all.length > 0;
    });
    const [report] = running.reports.all;
    expect(report).toMatchObject({ level: 'error', fields: { group: 'events', topic: TOPICS.events } });
    expect(report?.fields['records']).toBeGreaterThanOrEqual(3);
  });

  test('nothing moves beyond what can not be put aside', async () => {
    await using place = await newPlace();
    const bad: NewRecord = { topic: TOPICS.events, key: Buffer.from('k'), value: Buffer.from('garbage') };
    await place.log.append([bad]);
    let full = true;
    const log = new Proxy(place.log, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (name === 'append' && full) return () => Promise.reject(new LogUnavailableError('full'));
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    await using running = run(place, place.store, log);
    await until('it has tried', () => running.reports.messages.includes('consuming is held up'));
    expect(await counts(place)).toEqual({});
    full = false;
    await handled(place);
    expect(await counts(place)).toEqual({ '0 default invalid internal': 1 });
  });
});
