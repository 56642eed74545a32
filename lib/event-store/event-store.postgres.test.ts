import { afterAll, beforeAll } from 'vitest';
import { type PostgresServer, query, startPostgres } from '../../test/support/postgres.ts';
import { describeEventStoreContract } from './event-store-contract.ts';
import { describeEventStoreCrashes } from './event-store-crashes.ts';
import type { EventStoreSpace } from './event-store-harness.ts';
import { openPostgresEvents } from './postgres-event-database.ts';
import { createEventStore } from './sql-event-store.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres({ settings: ['max_connections=200'] });
});
afterAll(() => server.stop());

async function newSpace(): Promise<EventStoreSpace> {
  const url = await server.createDatabase();
  return {
    databaseUrl: url,
    dataDir: '',
    open: async ({ searchDeadlineMs, ...options } = {}) =>
      createEventStore(await openPostgresEvents({ url, ...options }), { searchDeadlineMs }),
    execute: (sql) => query(url, sql),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

describeEventStoreContract('PostgreSQL', { newSpace });
describeEventStoreCrashes('PostgreSQL', { newSpace });
