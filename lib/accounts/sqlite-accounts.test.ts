import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { openDatabase } from '#lib/store/open-store.ts';
import { describeAccountsContract } from './accounts-contract.ts';

const folders: string[] = [];
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

describeAccountsContract('SQLite', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'tideway-accounts-'));
  folders.push(dataDir);
  return openDatabase({ dataDir });
});
