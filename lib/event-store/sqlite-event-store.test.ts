import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { describeEventStoreContract } from './event-store-contract.ts';
import { describeEventStoreCrashes } from './event-store-crashes.ts';
import { type EventStoreSpace, newEvent, newProject, queryOf, save } from './event-store-harness.ts';
import { createEventStore } from './sql-event-store.ts';
import { eventsFile, openSqliteEvents } from './sqlite-event-database.ts';

async function newSpace(): Promise<EventStoreSpace> {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-events-'));
  const dataDir = join(folder, 'data');
  return {
    databaseUrl: undefined,
    dataDir,
    open: async ({ searchDeadlineMs, ...options } = {}) =>
      createEventStore(await openSqliteEvents({ dataDir, ...options }), { searchDeadlineMs }),
    execute: async (sql) => {
      const database = new DatabaseSync(eventsFile(dataDir), { timeout: 5_000 });
      try {
        if (sql.startsWith('select') || sql.startsWith('explain')) return database.prepare(sql).all();
        database.exec(sql);
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

  test('a search through thousands of events leaves timers and sockets their turn', async () => {
    await using space = await newSpace();
    const store = await space.open();
    const whose = newProject();
    const searchText = 'hay '.repeat(1_000);
    await save(store, ...Array.from({ length: 5_000 }, () => newEvent({ ...whose, searchText })));
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await store.list(queryOf({ ...whose, words: ['needle'] }));
    clearInterval(timer);
    expect(turns).toBeGreaterThan(3);
    await store.close();
  });
});
