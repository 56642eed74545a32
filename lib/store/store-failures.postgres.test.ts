import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { InvalidDatabaseUrlError } from '#lib/sql/postgres-url.ts';
import { type PostgresServer, query, startPostgres } from '../../test/support/postgres.ts';
import { until } from '../../test/support/until.ts';
import { openPostgres } from './postgres-database.ts';
import { createStore } from './sql-store.ts';
import { STORE_DEADLINE_MS, type Store } from './store.ts';
import { newProject } from './store-harness.ts';

/** What a timer may be late on a busy machine. */
const SLACK_MS = 5_000;

describe('PostgreSQL that fails', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres({ durable: true, settings: ['max_connections=30'] });
  });
  afterAll(() => server.stop());

  async function openFresh(): Promise<{ store: Store; url: string }> {
    const url = await server.createDatabase();
    return { store: createStore(await openPostgres({ url })), url };
  }

  test('paused: every call ends in time and says so; afterwards all goes on', async () => {
    const { store } = await openFresh();
    const { organization, project, key } = await newProject(store);
    let hints = 0;
    const end = store.changes.onChange(() => hints++);
    await until('it listens', () => hints > 0);
    server.pause();
    const startedMs = performance.now();
    const calls = await Promise.allSettled([
      store.configs.get([key.publicKey]),
      store.projects.update('system', organization.id, project.id, { name: 'Paused' }),
      ...Array.from({ length: 50 }, () => store.organizations.get(organization.id)),
      store.ping(200),
    ]);
    expect(performance.now() - startedMs).toBeLessThan(STORE_DEADLINE_MS + SLACK_MS);
    for (const call of calls) {
      expect(call).toMatchObject({ status: 'rejected', reason: expect.any(StoreUnavailableError) });
    }
    server.resume();
    await until('it answers', async () => (await store.configs.get([key.publicKey])).size === 1);
    const cursor = await store.changes.cursor();
    await store.projects.update('system', organization.id, project.id, { name: 'Resumed' });
    expect(await store.changes.since(cursor)).toMatchObject({ publicKeys: [key.publicKey] });
    end();
    await store.close();
  });

  test('crashed in the middle of changes: what was acknowledged is there, and the same store goes on', async () => {
    const { store } = await openFresh();
    const { organization, key } = await newProject(store);
    const cursor = await store.changes.cursor();
    const acknowledged: string[] = [];
    const refused: unknown[] = [];
    let isOver = false;
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let index = 0; !isOver; index++) {
        const name = `project ${writer} ${index}`;
        try {
          await store.projects.create('system', organization.id, { name });
          acknowledged.push(name);
        } catch (error) {
          refused.push(error);
          return;
        }
      }
    });
    await until('there is enough', () => acknowledged.length > 40);
    await server.kill();
    isOver = true;
    await Promise.all(writers);
    expect(refused).not.toEqual([]);
    for (const error of refused) expect(error).toBeInstanceOf(StoreUnavailableError);
    await expect(store.configs.get([key.publicKey])).rejects.toThrow(StoreUnavailableError);

    await server.restart();
    const { items } = await store.projects.list(organization.id, { pageSize: 1_000 });
    expect(items.map(({ name }) => name)).toEqual(expect.arrayContaining(acknowledged));
    const changes = await store.changes.since(cursor);
    expect(changes.kind === 'changes' && changes.publicKeys.length).toBe(items.length - 1);
    let hints = 0;
    const end = store.changes.onChange(() => hints++);
    await until('it hears again', () => hints > 0);
    end();
    await store.close();
  });

  test('locked by somebody else: changes say so in time, reads go on', async () => {
    const { store, url } = await openFresh();
    const { organization, key } = await newProject(store);
    const other = new pg.Client({ connectionString: url });
    await other.connect();
    await other.query('begin; select * from store_state for update');
    const change = store.organizations.update('system', organization.id, { name: 'New' });
    expect((await store.configs.get([key.publicKey])).size).toBe(1);
    await expect(change).rejects.toThrow(StoreUnavailableError);
    await other.query('commit');
    await other.end();
    expect(await store.organizations.update('system', organization.id, { name: 'New' })).toMatchObject({ name: 'New' });
    await store.close();
  });

  test('full of changes that wait for their turn: reads go on', async () => {
    const { store, url } = await openFresh();
    const { organization, key } = await newProject(store);
    await until('a read is answered while all changes wait', async () => {
      const lock = query(url, 'begin; select * from store_state for update; select pg_sleep(2); commit');
      await until('it is locked', async () => {
        const held = await query(url, 'select 1 from store_state for update skip locked');
        return held.length === 0;
      });
      let ended = 0;
      const changes = Array.from({ length: 30 }, (_, index) =>
        store.organizations.update('system', organization.id, { name: `${index}` }).finally(() => ended++),
      );
      const ending = Promise.allSettled([...changes, lock]);
      const [read] = await Promise.allSettled([store.configs.get([key.publicKey])]);
      const allWaited = ended === 0;
      await ending;
      return read.status === 'fulfilled' && allWaited;
    });
    await store.close();
  });

  test('asked too much at once: refuses what it has no room for, and answers the rest', async () => {
    const { store } = await openFresh();
    const { organization } = await newProject(store);
    const calls = Array.from({ length: 2_000 }, () => store.organizations.get(organization.id));
    const results = await Promise.allSettled(calls);
    const problems = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    for (const problem of problems) expect(problem).toBeInstanceOf(StoreUnavailableError);
    expect(problems.filter(({ message }) => /^too many /.test(message))).toHaveLength(1_000);
    // Of the others a busy machine may have some wait for too long.
    expect(problems.length).toBeLessThan(1_500);
    await store.close();
  });

  test('of a stricter default isolation: changes that meet wait for each other all the same', async () => {
    const url = await server.createDatabase();
    const name = new URL(url).pathname.slice(1);
    await query(url, `alter database ${name} set default_transaction_isolation = 'serializable'`);
    const stores = await Promise.all([1, 2, 3].map(async () => createStore(await openPostgres({ url }))));
    const changes = stores.flatMap((store) =>
      Array.from({ length: 5 }, () => store.organizations.create('system', { name: 'Acme', region: '' })),
    );
    const made = await Promise.all(changes);
    expect(new Set(made.map(({ id }) => id)).size).toBe(made.length);
    await Promise.all(stores.map((store) => store.close()));
  });

  test('not there yet: it is waited for, not for ever', async () => {
    const url = await server.createDatabase();
    await server.kill();
    await expect(openPostgres({ url, openDeadlineMs: 500 })).rejects.toThrow(StoreUnavailableError);
    const opening = openPostgres({ url });
    await server.restart();
    const store = createStore(await opening);
    await store.ping(5_000);
    await store.close();
  });

  test('called by something that is no URL of it: says so, without the password', async () => {
    for (const url of ['mysql://user:secret@host/db', 'secret', 'postgres:secret@@@:']) {
      const error = await openPostgres({ url, openDeadlineMs: 0 }).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(url.startsWith('postgres') ? Error : InvalidDatabaseUrlError);
      expect(String(error)).not.toContain('secret');
    }
  });
});
