import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { startSystem } from '../../bench/streams/systems.ts';
import { root } from '../../scripts/lib/project.mjs';
import { startDeployment } from '../support/deployment.ts';
import { PORT_CLAIMS } from '../support/free-port.ts';
import { childrenOf, descendantsOf, isRunning } from '../support/processes.ts';
import { programEnv } from '../support/program-env.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { until } from '../support/until.ts';
import { watch } from '../support/watchdog.ts';

// What tests and measurements start ends with them, also where something fails.

let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis?.stop());

const services = () => childrenOf(process.pid).filter(({ command }) => command.includes('services/'));

test.each([
  [
    'a deployment',
    /cleanup ended at its start/,
    () =>
      startDeployment({
        redisUrl: redis.url,
        replicas: { cleanup: 1 },
        cleanupEnv: { CLEANUP_STREAM_IDLE_SEC: 'soon' },
      }),
  ],
  [
    'a measured system',
    /stream ended at its start/,
    () => startSystem('redis', { env: { GATEWAY_MAX_LISTENERS: 'many' } }),
  ],
] as const)('%s of which one service cannot start leaves none of the others', async (_, reason, start) => {
  await expect(start()).rejects.toThrow(reason);
  expect(services()).toEqual([]);
});

test('who is killed leaves nothing of what it has started: neither processes nor folders', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-leftovers-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  // PostgreSQL may run as another user.
  await chmod(folder, 0o711);
  // Ports are claimed from everybody on this machine.
  await mkdir(PORT_CLAIMS, { recursive: true });
  await symlink(PORT_CLAIMS, join(folder, 'tideway-test-ports'));
  const starter = spawn(process.execPath, ['test/support/start-everything.ts'], {
    cwd: root,
    env: { ...programEnv(), TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  watch(starter);
  const [first] = await Promise.race([once(starter.stdout, 'data'), once(starter, 'exit')]);
  expect(String(first)).toBe('started\n');
  const started = descendantsOf(starter.pid);
  const commands = started.map(({ command }) => command).join('\n');
  for (const name of ['redis-server', 'postgres', 'publish', 'stream', 'monolith', 'envoy']) {
    expect(commands).toContain(name);
  }
  starter.kill('SIGKILL');
  await until('all of it has ended', () => !started.some(isRunning));
  const left = async () => (await readdir(folder)).filter((name) => name !== 'tideway-test-ports');
  await until('the folders are gone', async () => (await left()).length === 0);
});
