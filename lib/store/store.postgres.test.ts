import { afterAll, beforeAll } from 'vitest';
import { type PostgresServer, query, startPostgres } from '../../test/support/postgres.ts';
import { openPostgres } from './postgres-database.ts';
import { createStore } from './sql-store.ts';
import { describeStoreContract } from './store-contract.ts';
import { describeCrashes } from './store-crashes.ts';
import type { StoreSpace } from './store-harness.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

async function newSpace(): Promise<StoreSpace & { databaseUrl: string; dataDir: string }> {
  const url = await server.createDatabase();
  return {
    databaseUrl: url,
    dataDir: '',
    open: async (migrations) => createStore(await openPostgres({ url, migrations })),
    execute: (sql) => query(url, sql),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

describeStoreContract('PostgreSQL', { newSpace });
describeCrashes('PostgreSQL', { newSpace });
