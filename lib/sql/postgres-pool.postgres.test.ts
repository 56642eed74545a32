import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PostgresServer, startPostgres } from '../../test/support/postgres.ts';
import { StoreUnavailableError } from './database-errors.ts';
import { createPostgresPool } from './postgres-pool.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

test('a transaction that its process left alone for too long is worth repeating, on another connection', async () => {
  const statementTimeoutMs = 200;
  const pool = createPostgresPool({ url: await server.createDatabase(), statementTimeoutMs, maxConnections: 1 });
  const client = await pool.connect();
  await client.query('begin', []);
  // As a process that is paused, or busy: nothing is read from the connection meanwhile.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3 * statementTimeoutMs);
  await expect(client.query('select 1', [])).rejects.toBeInstanceOf(StoreUnavailableError);
  await expect(client.query('rollback', [])).rejects.toBeInstanceOf(StoreUnavailableError);
  client.release();
  const again = await pool.connect();
  expect(await again.query('select 1 as one', [])).toMatchObject({ rows: [{ one: 1 }] });
  again.release();
  await pool.end();
});
