import { chown, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { type PostgresServer, query, startPostgres } from '../../test/support/postgres.ts';
import { until } from '../../test/support/until.ts';
import { openPostgres } from './postgres-database.ts';
import { createStore } from './sql-store.ts';
import { newProject } from './store-harness.ts';

/** The server ends, and a standby that has what was there at the base backup is promoted in its place. */
async function failOver(server: PostgresServer, url: string): Promise<void> {
  const [row] = await query(url, 'show data_directory');
  const data = String(row?.['data_directory']);
  const backup = join(dirname(data), 'backup');
  const { uid, gid } = await stat(backup);
  await server.kill();
  await rename(data, `${data}.lost`);
  await rename(backup, data);
  await writeFile(join(data, 'standby.signal'), '');
  await chown(join(data, 'standby.signal'), uid, gid);
  await server.restart();
  await query(url, 'select pg_promote()');
}

test('a standby that takes over without the last changes begins a new history, under processes that run', async () => {
  await using server = await startPostgres();
  const url = await server.createDatabase();
  const store = createStore(await openPostgres({ url }));
  const { organization, project, key } = await newProject(store);
  const rename = (name: string) => store.projects.update('system', organization.id, project.id, { name });
  await server.run('pg_basebackup', '--pgdata=backup', '--checkpoint=fast', `--dbname=${url}`);
  const kept = await store.changes.cursor();
  const lost = await rename('Lost');
  const lostCursor = await store.changes.cursor();
  await failOver(server, url);

  await until('it answers', async () => (await store.configs.get([key.publicKey]).catch(() => new Map())).size === 1);
  const after = await rename('After');
  expect(after.revision).toBeGreaterThan(lost.revision);
  for (const cursor of [kept, lostCursor]) expect((await store.changes.since(cursor)).kind).toBe('reset');
  // Once, and not again at the next change, nor by a process that starts.
  const cursor = await store.changes.cursor();
  await rename('Again');
  const other = createStore(await openPostgres({ url }));
  expect(await other.changes.since(cursor)).toMatchObject({ kind: 'changes', publicKeys: [key.publicKey] });
  await Promise.all([store.close(), other.close()]);
});
