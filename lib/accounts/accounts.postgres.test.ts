import { afterAll, beforeAll } from 'vitest';
import { openDatabase } from '#lib/store/open-store.ts';
import { type PostgresServer, startPostgres } from '../../test/support/postgres.ts';
import { describeAccountsContract } from './accounts-contract.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server?.stop());

describeAccountsContract('PostgreSQL', async () =>
  openDatabase({ databaseUrl: await server.createDatabase(), dataDir: '' }),
);
