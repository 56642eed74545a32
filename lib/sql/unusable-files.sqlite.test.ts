import { spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openEventStore } from '#lib/event-store/open-event-store.ts';
import { openLog } from '#lib/log/open-log.ts';
import { openStore } from '#lib/store/open-store.ts';
import { programEnv } from '../../test/support/program-env.ts';
import { UnusableFileError } from './database-errors.ts';

interface Closable {
  close(): Promise<void>;
}

/** Each file of a data folder, and what opens it. */
const FILES: readonly (readonly [name: string, open: (dataDir: string) => Promise<Closable>])[] = [
  ['control.sqlite', (dataDir) => openStore({ dataDir })],
  ['events.sqlite', (dataDir) => openEventStore({ dataDir })],
  ['log.sqlite', (dataDir) => openLog({ dataDir })],
  ['log-groups.sqlite', (dataDir) => openLog({ dataDir })],
];
const NAMES = FILES.map(([name]) => name);
const PAGE_BYTES = 4_096;

let root: string;
let whole: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tideway-unusable-'));
  whole = join(root, 'whole');
  for (const [, open] of FILES) await (await open(whole)).close();
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** What can be found where a file should be, and what is said of it. */
const FINDINGS: readonly (readonly [what: string, put: (file: string, name: string) => Promise<void>, why: RegExp])[] =
  [
    ['text', (file) => writeFile(file, 'not a database '.repeat(1_000)), /is no SQLite database/],
    ['a database of something else', async (file) => makeTheirs(file, 'pragma user_version = 7'), /of something else/],
    ['one of something else that has no version', async (file) => makeTheirs(file, ''), /of something else/],
    [
      'another one of this folder',
      (file, name) => cp(join(whole, NAMES[(NAMES.indexOf(name) + 1) % NAMES.length] ?? ''), file),
      /is a database of something else/,
    ],
    [
      'a half of it',
      async (file, name) => {
        await cp(join(whole, name), file);
        await truncate(file, Math.ceil((await stat(file)).size / 2 / PAGE_BYTES) * PAGE_BYTES);
      },
      /is damaged/,
    ],
    ['a folder', async (file) => void (await mkdir(file)), /can't be opened \(unable to open database file\)/],
  ];

function makeTheirs(file: string, more: string): void {
  const database = new DatabaseSync(file);
  database.exec(`create table theirs (a text); insert into theirs values ('precious'); ${more}`);
  database.close();
}

describe.each(FILES)('in place of %s', (name, open) => {
  test.each(FINDINGS)('%s: is said in a line, and left as it is', async (_, put, why) => {
    const dataDir = await mkdtemp(join(root, 'data-'));
    const file = join(dataDir, name);
    await put(file, name);
    const before = await bytesOf(file);
    const error = await open(dataDir).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(UnusableFileError);
    const { message } = error as Error;
    expect(message).toMatch(why);
    expect(message).toMatch(/^TIDEWAY_DATA_DIR: [^\n]*$/);
    expect(message).toContain(file);
    expect(await bytesOf(file)).toEqual(before);
  });
});

async function bytesOf(file: string): Promise<Buffer | undefined> {
  return (await stat(file)).isFile() ? readFile(file) : undefined;
}

test.each(FILES.slice(0, 2))('%s without its pages is damaged, as far as the start reads them', async (name, open) => {
  const dataDir = await mkdtemp(join(root, 'data-'));
  const bytes = await readFile(join(whole, name));
  await writeFile(join(dataDir, name), bytes.fill(0, PAGE_BYTES));
  await expect(open(dataDir)).rejects.toThrow(
    /^TIDEWAY_DATA_DIR: .* is damaged, and was left as it is: restore a backup/,
  );
});

test('a folder that can not be one is said with the setting', async () => {
  const dataDir = join(root, 'file');
  await writeFile(dataDir, '');
  for (const [name, open] of FILES) {
    if (name === 'log-groups.sqlite') continue;
    await expect(open(join(dataDir, 'data'))).rejects.toThrow(/^TIDEWAY_DATA_DIR: .* can't be opened \(ENOTDIR: /);
  }
});

test('a process that finds one ends with the line', async () => {
  const dataDir = await mkdtemp(join(root, 'data-'));
  const file = join(dataDir, 'log.sqlite');
  await writeFile(file, 'not a database '.repeat(1_000));
  const process = spawn('node_modules/.bin/node', ['services/monolith/main.ts'], {
    env: { ...programEnv(), TIDEWAY_DATA_DIR: dataDir, PORT: '0' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exit = new Promise((resolve) => process.once('exit', resolve));
  expect(await text(process.stderr)).toBe(
    `tideway: TIDEWAY_DATA_DIR: ${file} is no SQLite database, and was left as it is: move it away, or set another folder\n`,
  );
  expect(await exit).toBe(1);
});
