import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { type PostgresServer, query, startPostgres } from '../../test/support/postgres.ts';
import { until } from '../../test/support/until.ts';
import { DAY_MS, dayOf } from './days.ts';
import type { EffectBatch, EventStore } from './event-store.ts';
import {
  expectStored,
  newAttachment,
  newEvent,
  newProject,
  queryOf,
  readAll,
  save,
  TestPartition,
  totalsOf,
} from './event-store-harness.ts';
import { openPostgresEvents } from './postgres-event-database.ts';
import { createEventStore } from './sql-event-store.ts';

/** What a busy machine may take for what is done at once. */
const AT_ONCE_MS = 2_500;

describe('events on PostgreSQL', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres({ durable: true });
  });
  afterAll(() => server.stop());

  async function openFresh(): Promise<{ store: EventStore; url: string }> {
    const url = await server.createDatabase();
    return { store: createEventStore(await openPostgresEvents({ url })), url };
  }

  test('retention waits for a reader that was there before it, and holds up nobody else', async () => {
    const { store, url } = await openFresh();
    const whose = newProject();
    await save(store, newEvent({ ...whose, retentionDays: 2 }), newEvent(whose));
    await using reader = await readingTransaction(url);
    let isOver = false;
    const deleting = (async () => {
      while (!isOver) await deleteAll(store, Date.now() + 10 * DAY_MS).catch(expectUnavailable);
    })();
    await until('it is detaching', async () => (await detaching(url)).length > 0);
    // On a day that there is, and on one that is yet to be made.
    for (const retentionDays of [30, 30, 77]) {
      const event = newEvent({ ...whose, retentionDays });
      const startedMs = performance.now();
      await save(store, event);
      await expectStored(store, event);
      expect((await store.list(queryOf({ ...whose, level: 'error' }))).events.length).toBeGreaterThan(1);
      expect(performance.now() - startedMs).toBeLessThan(AT_ONCE_MS);
    }
    const expired = () => expiredPartitions(url, dayOf(Date.now()) + 9);
    expect(await expired()).not.toEqual([]);
    await reader.end();
    await until('it is done', async () => (await expired()).length === 0);
    isOver = true;
    await deleting;
    await store.close();
  });

  test('retention that is interrupted is finished by the next', async () => {
    const { store, url } = await openFresh();
    const whose = newProject();
    await save(store, newEvent({ ...whose, retentionDays: 2 }));
    const nowMs = Date.now() + 10 * DAY_MS;
    const reader = await readingTransaction(url);
    const interrupted = expect(deleteAll(store, nowMs)).rejects.toThrow(StoreUnavailableError);
    const pending = async () => (await query(url, 'select 1 from pg_inherits where inhdetachpending')).length;
    // What is interrupted before that has not begun.
    await until('it is detaching', async () => (await pending()) === 1);
    for (const pid of await detaching(url)) await query(url, `select pg_terminate_backend(${pid})`);
    await interrupted;
    expect(await pending()).toBe(1);
    await reader.end();
    await deleteAll(store, nowMs);
    expect(await expiredPartitions(url, dayOf(nowMs) - 1)).toEqual([]);
    expect(
      await query(
        url,
        "select relname from pg_class where relname ~ '_day_' and relkind = 'r' and relispartition = false",
      ),
    ).toEqual([]);
    const event = newEvent(whose);
    await save(store, event);
    await expectStored(store, event);
    await store.close();
  });

  test('searches that take long, many at once, leave the way free to everybody else', async () => {
    const { store, url } = await openFresh();
    const [whose, partition] = [newProject(), new TestPartition()];
    await store.apply(partition.nextEvents([newEvent(whose)]));
    const other = new pg.Client({ connectionString: url });
    await other.connect();
    await other.query('begin');
    await other.query('lock table events in access exclusive mode');
    const searches = Promise.allSettled(
      Array.from({ length: 30 }, () => store.list(queryOf({ ...whose, words: ['needle'] }))),
    );
    const waiting = async () => query(url, "select 1 from pg_stat_activity where wait_event_type = 'Lock'");
    await until('some wait', async () => (await waiting()).length >= 3);
    await store.ping(1_000);
    expect(await partition.position(store)).toBe(1n);
    await other.query('rollback');
    await other.end();
    for (const search of await searches) {
      if (search.status === 'rejected') expect(search.reason).toBeInstanceOf(StoreUnavailableError);
    }
    expect((await store.list(queryOf({ ...whose, words: ['valueerror'] }))).events).toHaveLength(1);
    await store.close();
  });

  test('an event is looked for in one partition, and lists come in the order of an index', async () => {
    const { store, url } = await openFresh();
    const whose = newProject();
    for (const retentionDays of [1, 30, 90]) {
      await save(store, ...Array.from({ length: 300 }, () => newEvent({ ...whose, retentionDays })));
    }
    await query(url, 'analyze events');
    const explain = async (sql: string) =>
      (await query(url, `explain ${sql}`)).map((row) => row['QUERY PLAN']).join('\n');
    const get = await explain(`select body from events where project_id = ${whose.projectId} and received_ms = 1
      and event_id = '\\x00' and expires_day = ${dayOf(Date.now()) + 31}`);
    expect(get).toContain('Index Scan');
    expect(get).not.toContain('Append');
    const list = await explain(`select title from events where organization_id = ${whose.organizationId}
      and expires_day > ${dayOf(Date.now())} and (received_ms, project_id, event_id) < (${Date.now()}, 5, '\\x00')
      order by received_ms desc, project_id desc, event_id desc limit 20`);
    expect(list).toContain('Merge Append');
    expect(list).not.toContain('Seq Scan');
    expect(list).not.toMatch(/^Sort/);
    await store.close();
  });

  test('a dump has everything, partitions and positions too, and goes on where it is restored', async () => {
    const { store, url } = await openFresh();
    const restoredUrl = await server.createDatabase();
    const [event, partition] = [newEvent({ ...newProject(), attachments: [newAttachment()] }), new TestPartition()];
    const batch = partition.nextEvents([event, newEvent({ ...newProject(), retentionDays: 2 })]);
    await store.apply(batch);
    await store.close();
    // As docs/operations.md says.
    await server.run('pg_dump', '--format=custom', '--file=events.dump', url);
    await server.run('pg_restore', '--exit-on-error', '--no-owner', `--dbname=${restoredUrl}`, 'events.dump');
    const restored = createEventStore(await openPostgresEvents({ url: restoredUrl }));
    await expectStored(restored, event);
    expect(await readAll(restored, event.projectId, event.eventId, event.attachments[0]?.id ?? '')).toHaveLength(9);
    expect(await restored.apply(batch)).toEqual([]);
    await restored.apply(partition.nextEvents([newEvent({ ...newProject(), retentionDays: 50 })]));
    await deleteAll(restored, Date.now() + 10 * DAY_MS);
    await expectStored(restored, event);
    expect(await expiredPartitions(restoredUrl, dayOf(Date.now()) + 9)).toEqual([]);
    await restored.close();
  });

  test('crashed in the middle of batches: each that was applied is there, and each is once', async () => {
    const { store } = await openFresh();
    const whose = newProject();
    const partitions = Array.from({ length: 4 }, (_, partition) => new TestPartition({ partition }));
    let isOver = false;
    let failures = 0;
    const applied: number[] = [];
    const applying = Promise.all(
      partitions.map(async (partition) => {
        while (!isOver) {
          const batch = partition.nextEvents(Array.from({ length: 10 }, () => newEvent(whose)));
          failures += await applyAtLast(store, batch);
          applied.push(batch.effects.length);
        }
      }),
    );
    await until('some are applied', () => applied.length > 20);
    await server.kill();
    await server.restart();
    const afterCrash = applied.length;
    await until('it goes on', () => applied.length > afterCrash + 20);
    isOver = true;
    await applying;
    expect(failures).toBeGreaterThan(0);
    const count = BigInt(applied.reduce((sum, each) => sum + each, 0));
    expect(await totalsOf(store, whose.organizationId)).toEqual({ 'accepted error': count });
    for (const partition of partitions) expect(await partition.position(store)).toBeGreaterThan(0n);
    await store.close();
  });

  test('paused: says so in time, and nothing is counted twice afterwards', async () => {
    const { store } = await openFresh();
    const event = newEvent(newProject());
    const batch = new TestPartition().nextEvents([event]);
    await save(store, newEvent(newProject()));
    server.pause();
    const calls = await Promise.allSettled([
      store.apply(batch),
      store.get(event.projectId, event.eventId),
      store.ping(200),
    ]);
    for (const call of calls) {
      expect(call).toMatchObject({ status: 'rejected', reason: expect.any(StoreUnavailableError) });
    }
    server.resume();
    await applyAtLast(store, batch);
    expect(await totalsOf(store, event.organizationId)).toEqual({ 'accepted error': 1n });
    await expectStored(store, event);
    await store.close();
  });
});

/** As a consumer does. @returns how often it failed. */
async function applyAtLast(store: EventStore, batch: EffectBatch): Promise<number> {
  for (let failures = 0; ; failures++) {
    try {
      await store.apply(batch);
      return failures;
    } catch (error) {
      expectUnavailable(error);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

function expectUnavailable(error: unknown): void {
  expect(error).toBeInstanceOf(StoreUnavailableError);
}

async function deleteAll(store: EventStore, nowMs: number): Promise<void> {
  while (await store.deleteExpired(nowMs));
}

/** Somebody who has read from the tables, and is not at an end: a dump, a report. */
async function readingTransaction(url: string): Promise<AsyncDisposable & { end(): Promise<void> }> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  await client.query('begin');
  await client.query('select count(*) from events');
  await client.query('select count(*) from attachment_chunks');
  let ended: Promise<void> | undefined;
  const end = () => {
    ended ??= client.query('commit').then(() => client.end());
    return ended;
  };
  return { end, [Symbol.asyncDispose]: end };
}

async function detaching(url: string): Promise<unknown[]> {
  const rows = await query(
    url,
    `select pid from pg_stat_activity where state = 'active' and query like 'alter table % detach partition %'
      and datname = current_database()`,
  );
  return rows.map(({ pid }) => pid);
}

async function expiredPartitions(url: string, lastDay: number): Promise<unknown[]> {
  const rows = await query(url, "select relname from pg_class where relname ~ '_day_[0-9]+$' and relkind = 'r'");
  return rows.map(({ relname }) => relname).filter((name) => Number(String(name).split('_').at(-1)) <= lastDay);
}
