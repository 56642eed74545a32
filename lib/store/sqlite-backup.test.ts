import { copyFile, mkdir, mkdtemp, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { SchemaTooNewError } from '#lib/sql/database-errors.ts';
import { BackupError, backupSqlite, restoreSqlite } from '#lib/sql/sqlite-backup.ts';
import { openStore } from './open-store.ts';
import { controlPlaneData, sqliteFile } from './sqlite-database.ts';
import { newOrganization, newProject } from './store-harness.ts';

async function newFolder() {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-backup-'));
  return {
    dataDir: join(folder, 'data'),
    backup: join(folder, 'backup.sqlite'),
    folder,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

describe('a backup of SQLite', () => {
  test('is made while there are changes, and restores all that was acknowledged before it', async () => {
    await using paths = await newFolder();
    const { dataDir, backup } = paths;
    const store = await openStore({ dataDir });
    const { organization, project, key } = await newProject(store);
    let isOver = false;
    const writing = (async () => {
      for (let index = 0; !isOver; index++) {
        await store.projects.update('system', organization.id, project.id, { name: `${index}` });
      }
    })();
    await backupSqlite(controlPlaneData(dataDir), backup);
    isOver = true;
    await writing;
    expect((await stat(backup)).mode & 0o077).toBe(0);
    const lost = await store.projects.update('system', organization.id, project.id, { name: 'Lost' });
    const lostCursor = await store.changes.cursor();
    await store.close();

    await expect(restoreSqlite(backup, controlPlaneData(dataDir))).rejects.toThrow(BackupError);
    await rm(sqliteFile(dataDir));
    await restoreSqlite(backup, controlPlaneData(dataDir));
    const restored = await openStore({ dataDir });
    expect(await restored.organizations.get(organization.id)).toEqual(organization);
    expect((await restored.configs.get([key.publicKey])).get(key.publicKey)?.active).toBe(true);
    const found = await restored.projects.get(organization.id, project.id);
    expect(found?.name).toMatch(/^(App|\d+)$/);

    // What was lost is not mistaken for what comes after it.
    expect((await restored.changes.since(lostCursor)).kind).toBe('reset');
    const after = await restored.projects.update('system', organization.id, project.id, { name: 'After' });
    expect(after.revision).toBeGreaterThan(lost.revision);
    expect((await restored.changes.since(lostCursor)).kind).toBe('reset');
    await restored.close();
  });

  test('that is put in place by hand begins a new history too; a plain restart does not', async () => {
    await using paths = await newFolder();
    const { dataDir, backup, folder } = paths;
    const store = await openStore({ dataDir });
    const cursor = await store.changes.cursor();
    await store.close();
    const again = await openStore({ dataDir });
    expect(await again.changes.cursor()).toBe(cursor);
    await again.close();
    await backupSqlite(controlPlaneData(dataDir), backup);
    await rename(dataDir, join(folder, 'old'));
    await mkdir(dataDir);
    await rename(backup, sqliteFile(dataDir));
    const restored = await openStore({ dataDir });
    expect((await restored.changes.since(cursor)).kind).toBe('reset');
    await restored.close();
  });

  test('that is copied into the file that was there begins a new history too', async () => {
    await using paths = await newFolder();
    const { dataDir, backup } = paths;
    const store = await openStore({ dataDir });
    const { id } = await newOrganization(store);
    await backupSqlite(controlPlaneData(dataDir), backup);
    const lost = await store.organizations.update('system', id, { name: 'Lost' });
    const lostCursor = await store.changes.cursor();
    await store.close();
    const { ino } = await stat(sqliteFile(dataDir));
    await copyFile(backup, sqliteFile(dataDir));
    expect((await stat(sqliteFile(dataDir))).ino).toBe(ino);
    const restored = await openStore({ dataDir });
    const after = await restored.organizations.update('system', id, { name: 'After' });
    expect(after.etag).not.toBe(lost.etag);
    expect((await restored.changes.since(lostCursor)).kind).toBe('reset');
    await restored.close();
  });

  test('overwrites nothing, and is made of nothing but data', async () => {
    await using paths = await newFolder();
    const { dataDir, backup, folder } = paths;
    await expect(backupSqlite(controlPlaneData(dataDir), backup)).rejects.toThrow(/there is no/);
    const store = await openStore({ dataDir });
    await newOrganization(store);
    await store.close();
    await writeFile(backup, 'mine');
    await expect(backupSqlite(controlPlaneData(dataDir), backup)).rejects.toThrow(/is there already/);
    const elsewhere = join(folder, 'else', 'where');
    await expect(restoreSqlite(backup, controlPlaneData(elsewhere))).rejects.toThrow(/is no backup/);
    await expect(restoreSqlite(join(folder, 'none'), controlPlaneData(elsewhere))).rejects.toThrow(/there is no/);
    const newer = join(folder, 'newer.sqlite');
    await backupSqlite(controlPlaneData(dataDir), newer);
    const database = new DatabaseSync(newer);
    database.exec('insert into schema_versions (version, applied_ms) values (1000, 0)');
    database.close();
    await expect(restoreSqlite(newer, controlPlaneData(elsewhere))).rejects.toThrow(SchemaTooNewError);
  });

  test('of what is damaged is none, and says so', async () => {
    await using paths = await newFolder();
    const { dataDir, backup } = paths;
    await (await openStore({ dataDir })).close();
    const file = sqliteFile(dataDir);
    await truncate(file, (await stat(file)).size / 2);
    const making = backupSqlite(controlPlaneData(dataDir), backup);
    await expect(making).rejects.toThrow(BackupError);
    await expect(making).rejects.toThrow(`${file} is damaged`);
    await expect(stat(backup)).rejects.toThrow('ENOENT');
  });
});
