import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { backupSqlite, restoreSqlite } from '#lib/sql/sqlite-backup.ts';
import { describeEventStoreContract } from './event-store-contract.ts';
import { describeEventStoreCrashes } from './event-store-crashes.ts';
import {
  type EventStoreSpace,
  expectStored,
  newAttachment,
  newEvent,
  newProject,
  queryOf,
  save,
  TestPartition,
  totalsOf,
} from './event-store-harness.ts';
import { createEventStore } from './sql-event-store.ts';
import { eventData, eventsFile, openSqliteEvents } from './sqlite-event-database.ts';

async function newSpace(): Promise<EventStoreSpace> {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-events-'));
  const dataDir = join(folder, 'data');
  return {
    databaseUrl: undefined,
    dataDir,
    open: async ({ searchDeadlineMs, ...options } = {}) =>
      createEventStore(await openSqliteEvents({ dataDir, ...options }), { searchDeadlineMs }),
    execute: async (text) => {
      const database = new DatabaseSync(eventsFile(dataDir), { timeout: 5_000 });
      try {
        if (text.startsWith('select')) return database.prepare(text).all();
        database.exec(text);
        return [];
      } finally {
        database.close();
      }
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

describeEventStoreContract('SQLite', { newSpace });
describeEventStoreCrashes('SQLite', { newSpace });

describe('SQLite', () => {
  test('its files are for their owner only', async () => {
    await using space = await newSpace();
    const store = await space.open();
    await save(store, newEvent());
    for (const file of ['', '-wal', '-shm']) {
      expect((await stat(eventsFile(space.dataDir) + file)).mode & 0o077).toBe(0);
    }
    await store.close();
  });

  test('a full disk is said, no batch is half applied, and it goes on afterwards', async () => {
    await using space = await newSpace();
    const database = await openSqliteEvents({ dataDir: space.dataDir });
    const store = createEventStore(database);
    const pages = async (count: number) => {
      if (database.writer !== undefined) await sql.raw(`pragma max_page_count = ${count}`).execute(database.writer);
    };
    await pages(1);
    const [whose, partition] = [newProject(), new TestPartition()];
    const batch = partition.nextEvents(
      Array.from({ length: 20 }, () =>
        newEvent({ ...whose, title: 'x'.repeat(5_000), attachments: [newAttachment()] }),
      ),
    );
    await expect(store.apply(batch)).rejects.toThrow(StoreUnavailableError);
    expect(await partition.position(store)).toBeUndefined();
    expect((await store.list(queryOf(whose))).events).toEqual([]);
    await pages(1_000_000);
    expect(await store.apply(batch)).toHaveLength(20);
    expect(await totalsOf(store, whose.organizationId)).toMatchObject({ 'accepted error': 20n });
    await store.close();
  });

  test('a search through thousands of events leaves timers and sockets their turn', async () => {
    await using space = await newSpace();
    const store = await space.open();
    const whose = newProject();
    const searchText = 'hay '.repeat(1_000);
    await save(store, ...Array.from({ length: 5_000 }, () => newEvent({ ...whose, searchText })));
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    // Without that, they would have none in a hundred either. One may be over in less time than a turn may take.
    for (let searches = 0; searches < 100 && turns <= 3; searches++) {
      await store.list(queryOf({ ...whose, words: ['needle'] }));
    }
    clearInterval(timer);
    expect(turns).toBeGreaterThan(3);
    await store.close();
  });

  test('a backup is made while events come, and has all that was saved before it, and how far the log was', async () => {
    await using space = await newSpace();
    await using elsewhere = await newSpace();
    const store = await space.open();
    const [event, partition] = [newEvent(), new TestPartition()];
    await store.apply(partition.nextEvents([event]));
    let isOver = false;
    const writing = (async () => {
      while (!isOver) await store.apply(partition.nextEvents([newEvent()]));
    })();
    const file = join(space.dataDir, 'backup');
    await backupSqlite(eventData(space.dataDir), file);
    isOver = true;
    await writing;
    await store.close();
    await restoreSqlite(file, eventData(elsewhere.dataDir));
    const restored = await elsewhere.open();
    await expectStored(restored, event);
    const { events } = await restored.list(queryOf({ ...event, limit: 100_000 }));
    expect(await partition.position(restored)).toBe(BigInt(events.length));
    expect(await totalsOf(restored, event.organizationId)).toEqual({ 'accepted error': BigInt(events.length) });
    await restored.close();
  });
});
