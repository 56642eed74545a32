import { describe, expect, test } from 'vitest';
import { query, startPostgres } from '../../test/support/postgres.ts';
import { openPostgres } from './postgres-database.ts';
import { createStore } from './sql-store.ts';
import { newProject } from './store-harness.ts';

describe('a dump of PostgreSQL', () => {
  test('is made while there are changes, and restores all that was acknowledged before it', async () => {
    await using server = await startPostgres();
    const [url, restoredUrl] = [await server.createDatabase(), await server.createDatabase()];
    const store = createStore(await openPostgres({ url }));
    const { organization, project, key } = await newProject(store);
    let isOver = false;
    const writing = (async () => {
      for (let index = 0; !isOver; index++) {
        await store.projects.update('system', organization.id, project.id, { name: `${index}` });
      }
    })();
    // As docs/operations.md says.
    await server.run('pg_dump', '--format=custom', '--file=control.dump', url);
    isOver = true;
    await writing;
    const lost = await store.projects.update('system', organization.id, project.id, { name: 'Lost' });
    const lostCursor = await store.changes.cursor();
    await store.close();

    await server.run('pg_restore', '--exit-on-error', '--no-owner', `--dbname=${restoredUrl}`, 'control.dump');
    const restored = createStore(await openPostgres({ url: restoredUrl }));
    expect(await restored.organizations.get(organization.id)).toEqual(organization);
    expect((await restored.configs.get([key.publicKey])).get(key.publicKey)?.active).toBe(true);
    expect((await restored.projects.get(organization.id, project.id))?.name).toMatch(/^(App|\d+)$/);

    // What was lost is not mistaken for what comes after it.
    expect((await restored.changes.since(lostCursor)).kind).toBe('reset');
    const after = await restored.projects.update('system', organization.id, project.id, { name: 'After' });
    expect(after.revision).toBeGreaterThan(lost.revision);
    expect((await restored.changes.since(lostCursor)).kind).toBe('reset');
    const cursor = await restored.changes.cursor();
    await restored.close();

    // A restart, even after a crash, goes on where it was.
    await server.kill();
    await server.restart();
    const again = createStore(await openPostgres({ url: restoredUrl }));
    expect(await again.changes.cursor()).toBe(cursor);
    await again.close();
  });

  test('restores into the database that it was made of, once that is emptied', async () => {
    await using server = await startPostgres();
    const url = await server.createDatabase();
    const store = createStore(await openPostgres({ url }));
    const { organization, project } = await newProject(store);
    const rename = (name: string) => store.projects.update('system', organization.id, project.id, { name });
    await server.run('pg_dump', '--format=custom', '--file=same.dump', url);
    const lost = await rename('Lost');
    const lostCursor = await store.changes.cursor();
    await store.close();
    await query(url, 'drop schema public cascade; create schema public');
    await server.run('pg_restore', '--exit-on-error', '--no-owner', `--dbname=${url}`, 'same.dump');

    const restored = createStore(await openPostgres({ url }));
    const after = await restored.projects.update('system', organization.id, project.id, { name: 'After' });
    expect(after.revision).toBeGreaterThan(lost.revision);
    expect((await restored.changes.since(lostCursor)).kind).toBe('reset');
    await restored.close();
  });
});
