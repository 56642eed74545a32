import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { openStore } from '#lib/store/open-store.ts';
import { programEnv } from '../test/support/program-env.ts';

const PROGRAM = fileURLToPath(new URL('./store.ts', import.meta.url));

/** Started in the folder that the data is in. */
function run(dataDir: string, args: readonly string[], settings: Readonly<Record<string, string>> = {}) {
  const env = { ...programEnv(), TIDEWAY_DATA_DIR: dataDir, ...settings };
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, [PROGRAM, ...args], { env, cwd: dataDir, timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr });
    });
  });
}

async function newFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'tideway-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

test('what is backed up is restored elsewhere, and nothing that is there is overwritten', async () => {
  const [from, to] = [await newFolder(), await newFolder()];
  const store = await openStore({ dataDir: from });
  const { id } = await store.organizations.create('system', { name: 'Acme', region: '' });
  const file = join(from, 'copy');
  expect(await run(from, ['backup', 'copy'])).toMatchObject({ code: 0, stderr: '' });
  expect(await run(from, ['backup', 'copy'])).toMatchObject({ code: 1, stderr: `${file} is there already\n` });
  await store.close();

  expect(await run(to, ['restore', file])).toMatchObject({ code: 0, stderr: '' });
  expect(await run(to, ['restore', file])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('is there: stop what uses it'),
  });
  const restored = await openStore({ dataDir: to });
  expect(await restored.organizations.get(id)).toMatchObject({ name: 'Acme' });
  await restored.close();
});

test.each<[string[], string, Record<string, string>?]>([
  [['backup', '--evnts', 'copy'], "Unknown option '--evnts'."],
  [['backup', '--evnts'], "Unknown option '--evnts'."],
  [['backup'], 'One file is needed.'],
  [['backup', 'copy', 'another'], 'One file is needed.'],
  [['copy', 'there'], 'There are backup and restore.'],
  [
    ['backup', 'copy'],
    'DATABASE_URL is set, so the data is not in a file.',
    { DATABASE_URL: 'postgres://127.0.0.1/tideway' },
  ],
])('%j is refused in a line, and makes nothing', async (args, why, settings) => {
  const dir = await newFolder();
  expect(await run(dir, args, settings)).toEqual({ code: 2, stdout: '', stderr: `${why} --help tells more.\n` });
  expect(await readdir(dir)).toEqual([]);
});
