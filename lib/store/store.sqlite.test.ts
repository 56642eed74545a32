import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { Access, MAX_WAITING_OF_ONE } from './access.ts';
import { insertOrganization } from './organizations.ts';
import type { Organization } from './records.ts';
import { createStore } from './sql-store.ts';
import { openSqlite, sqliteFile } from './sqlite-database.ts';
import type { Actor } from './store.ts';
import { describeStoreContract } from './store-contract.ts';
import { describeCrashes } from './store-crashes.ts';
import { StoreRefusal } from './store-errors.ts';
import { newUser, type StoreSpace } from './store-harness.ts';

function reasonOf(error: unknown): string {
  return error instanceof StoreRefusal ? error.reason : String((error as Error).message);
}

async function newSpace(): Promise<StoreSpace & { readonly file: string; databaseUrl: string; dataDir: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-store-'));
  const dataDir = join(folder, 'data');
  return {
    file: sqliteFile(dataDir),
    databaseUrl: '',
    dataDir,
    open: async (migrations) => createStore(await openSqlite(dataDir, migrations)),
    execute: async (sql) => {
      const database = new DatabaseSync(sqliteFile(dataDir), { timeout: 5_000 });
      try {
        if (sql.startsWith('select')) return database.prepare(sql).all();
        database.exec(sql);
        return [];
      } finally {
        database.close();
      }
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

describeStoreContract('SQLite', { newSpace });
describeCrashes('SQLite', { newSpace });

describe('SQLite', () => {
  test('its files are for their owner only', async () => {
    await using space = await newSpace();
    const store = await space.open();
    await store.organizations.create('system', { name: 'Acme', region: '' });
    for (const file of ['', '-wal', '-shm']) expect((await stat(space.file + file)).mode & 0o077).toBe(0);
    await store.close();
  });

  test('waits for another process that writes, without holding up its own reads', async () => {
    await using space = await newSpace();
    const store = await space.open();
    const other = new DatabaseSync(space.file);
    other.exec('begin immediate');
    const making = store.organizations.create('system', { name: 'Acme', region: '' });
    expect((await store.organizations.list({})).items).toEqual([]);
    other.exec('commit');
    other.close();
    expect((await making).id).toBe(1n);
    await store.close();
  });

  test('lets tokens in while another process writes, though their use can not be noted', async () => {
    await using space = await newSpace();
    const store = await space.open();
    const { id } = await store.organizations.create('system', { name: 'Acme', region: '' });
    const { secret } = await store.apiTokens.create('system', id, { name: 'CI', scopes: ['projects:read'] });
    const other = new DatabaseSync(space.file);
    other.exec('begin immediate');
    const making = store.organizations.create('system', { name: 'Waits', region: '' }).then(() => 'made');
    const first = await Promise.race([making, store.apiTokens.authenticate(secret)]);
    expect(first).toMatchObject({ name: 'CI' });
    other.exec('commit');
    other.close();
    await making;
    await store.close();
  });

  test('what was given up on while another process wrote is not done any more when it ends', async () => {
    await using space = await newSpace();
    const database = await openSqlite(space.dataDir);
    const access = new Access(database, 100);
    const make = (name: string) =>
      access.mutate('system', (mutation) => insertOrganization(mutation, { name, region: '' }));
    const other = new DatabaseSync(space.file);
    other.exec('begin immediate');
    const givenUp = await Promise.allSettled(['One', 'Two', 'Three'].map(make));
    for (const { status } of givenUp) expect(status).toBe('rejected');
    other.exec('commit');
    other.close();
    await access.close();
    expect(await database.reader.selectFrom('organizations').select('name').execute()).toEqual([]);
    await database.close();
  });

  test('changes of one organization that flood are refused before those of others', async () => {
    await using space = await newSpace();
    const store = await space.open();
    const made = ['One', 'Other'].map((name) => store.organizations.create('system', { name, region: '' }));
    const [one, other] = (await Promise.all(made)) as [Organization, Organization];
    const user = await newUser(store);
    for (const { id } of [one, other]) await store.members.add('system', id, user.id, 'member');
    const create = (actor: Actor, { id }: Organization) =>
      store.projects.create({ actor, organizationId: id, roles: ['owner'] }, id, { name: 'App' }).catch(reasonOf);
    const flood = Array.from({ length: MAX_WAITING_OF_ONE }, () => create(`user:${user.id}`, one));
    expect(await create(`user:${user.id}`, one)).toBe('too many mutations of one organization are waiting');
    expect(await create(`user:${user.id}`, other)).toBe('role_lost');
    expect(await create('system', one)).toMatchObject({ name: 'App' });
    expect(new Set(await Promise.all(flood))).toEqual(new Set(['role_lost']));
    expect(await create(`user:${user.id}`, one)).toBe('role_lost');
    await store.close();
  });

  test('a long loop of changes leaves timers and sockets their turn', async () => {
    await using space = await newSpace();
    const store = await space.open();
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    let changes = 0;
    while (turns < 3) {
      await store.regions.put('system', { name: 'local', url: `http://127.0.0.1:${changes++}` });
    }
    clearInterval(timer);
    expect(changes).toBeGreaterThan(1);
    await store.close();
  });

  test('a full disk is said, nothing is half done, and it goes on afterwards', async () => {
    await using space = await newSpace();
    const database = await openSqlite(join(space.file, '..'));
    const store = createStore(database);
    const pages = async (count: number) => {
      const { sql } = await import('kysely');
      await sql.raw(`pragma max_page_count = ${count}`).execute(database.writer);
    };
    await pages(1);
    const quotas = { name: 'x'.repeat(20_000), region: '' };
    const creations = Array.from({ length: 20 }, () => store.organizations.create('system', quotas));
    const results = await Promise.allSettled(creations);
    const failed = results.filter((result) => result.status === 'rejected');
    expect(failed.length).toBeGreaterThan(0);
    for (const { reason } of failed) expect(reason).toBeInstanceOf(StoreUnavailableError);
    const made = results.length - failed.length;
    expect((await store.organizations.list({})).items).toHaveLength(made);
    await pages(1_000_000);
    expect((await store.organizations.create('system', quotas)).id).toBe(BigInt(made + 1));
    await store.close();
  });
});
