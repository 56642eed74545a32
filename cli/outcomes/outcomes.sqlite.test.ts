import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { INGEST_TOPICS, TOPICS } from '#lib/ingest/topics.ts';
import {
  eventMessage,
  ingestRecord,
  KeptReports,
  KeptSummaries,
  newPlace,
} from '../../services/consumers/consumers-testing.ts';
import { startConsumersThread } from '../../services/consumers/thread.ts';
import { programEnv } from '../../test/support/program-env.ts';
import { until } from '../../test/support/until.ts';
import { parseOutcomesCommand } from './options.ts';

const PROGRAM = fileURLToPath(new URL('../outcomes.ts', import.meta.url));

function run(dataDir: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const options = { env: { ...programEnv(), TIDEWAY_DATA_DIR: dataDir }, timeout: 20_000 };
    execFile(process.execPath, [PROGRAM, ...args], options, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr });
    });
  });
}

test('the commands work beside a process that consumes', async () => {
  await using place = await newPlace();
  const { dataDir, log } = place;
  const garbage = { topic: TOPICS.events, key: Buffer.from('k'), value: Buffer.from('garbage') };
  await log.append([...Array.from({ length: 20 }, () => ingestRecord(eventMessage())), garbage]);
  const early = await run(dataDir, 'audit');
  expect(early).toMatchObject({ code: 2, stdout: 'Not yet: 21 records behind.\n', stderr: '' });

  const live = new KeptSummaries();
  const parts = startConsumersThread({ store: { dataDir }, log: { dataDir }, live, reports: new KeptReports().add });
  await until('all is handled', async () => (await log.lag('events', INGEST_TOPICS)) === 0n, 20_000);
  const balanced = await run(dataDir, 'audit');
  expect(balanced).toMatchObject({ code: 0, stderr: '' });
  expect(balanced.stdout).toContain('Events in the log: 20 = 20 stored + 0 expired + 0 put aside + 0 missing.');
  expect(JSON.parse((await run(dataDir, 'audit', '--json')).stdout)).toMatchObject({ balanced: true });

  const listed = await run(dataDir, 'replay', '--list');
  expect(listed.stdout).toMatch(
    /^\S+Z {2}ingest-events {2}partition \d+ {2}offset \d+ {2}7 bytes {2}not MessagePack\n$/,
  );
  const replayed = await run(dataDir, 'replay', '--topic', TOPICS.events);
  expect(replayed).toMatchObject({ code: 0, stderr: '' });
  expect(replayed.stdout).toMatch(/^1 dead letters appended again\. [01] are left\.\n$/);
  await parts.drain?.(1_000);
});

test('wrong usage is said', () => {
  expect(parseOutcomesCommand(['--help'])).toEqual({ kind: 'help' });
  for (const args of [
    [],
    ['audit', 'x'],
    ['audit', '--list'],
    ['replay', '--limit', '0'],
    ['replay', '--topic', 'x'],
    ['--y'],
  ]) {
    expect(parseOutcomesCommand(args).kind, args.join(' ')).toBe('wrong');
  }
  expect(parseOutcomesCommand(['replay', '--limit', '5', '--topic', 'outcomes'])).toEqual({
    kind: 'replay',
    topics: ['outcomes'],
    limit: 5,
  });
});

test.each([['audit'], ['replay'], ['replay', '--list']])(
  'where there is no log, %s %s says so and makes none',
  async (...args) => {
    const dataDir = join(tmpdir(), `tideway-none-${process.pid}`);
    expect(await run(dataDir, ...args)).toEqual({
      code: 3,
      stdout: '',
      stderr: `There is no log in ${dataDir} (TIDEWAY_DATA_DIR).\n`,
    });
    expect(existsSync(dataDir)).toBe(false);
  },
);
