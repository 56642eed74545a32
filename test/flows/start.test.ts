import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/project.mjs';
import { runCommand } from '../../scripts/lib/run-command.mjs';
import { listen } from '../support/events.ts';
import { freePort } from '../support/free-port.ts';
import { childrenOf } from '../support/processes.ts';
import { programEnv } from '../support/program-env.ts';
import { eventsUrl, startStream } from '../support/story.ts';
import { until } from '../support/until.ts';
import { watch } from '../support/watchdog.ts';

/** `npm start`, as a process. */
interface Start {
  readonly process: ChildProcess;
  readonly ended: Promise<number | NodeJS.Signals | null>;
  output(): string;
}

let dir = '';
let edgePort = 0;
let port = 0;
let started: Start[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tideway-start-'));
  [edgePort, port] = [await freePort(), await freePort()];
  started = [];
});
afterEach(async () => {
  for (const { process, ended } of started) {
    process.kill('SIGKILL');
    await ended;
  }
  await rm(dir, { recursive: true, force: true });
});

function start(env: Readonly<Record<string, string>> = {}): Start {
  const child = spawn(process.execPath, ['scripts/start.mjs'], {
    cwd: root,
    env: { ...programEnv(), EDGE_PORT: `${edgePort}`, PORT: `${port}`, TIDEWAY_DATA_DIR: dir, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? code));
  });
  watch(child);
  const handle = { process: child, ended, output: () => output };
  started.push(handle);
  return handle;
}

async function startAndWait(env: Readonly<Record<string, string>> = {}): Promise<Start> {
  const running = start(env);
  await until('everything is up', () => running.output().includes('Ctrl-C'), 40_000);
  return running;
}

async function isUp(onPort: number): Promise<boolean> {
  const response = await fetch(`http://127.0.0.1:${onPort}/healthz`).catch(() => undefined);
  await response?.body?.cancel();
  return response !== undefined;
}

const nothingIsLeft = () =>
  until('nothing is left running', async () => !(await isUp(edgePort)) && !(await isUp(port)));

/** The child of a process whose command contains a text. */
function childOf(parent: ChildProcess, text: string): number {
  const found = childrenOf(parent.pid).find(({ command }) => command.includes(text));
  if (found === undefined) throw new Error(`no child of ${parent.pid} runs ${text}`);
  return found.pid;
}

describe('npm start', () => {
  test('prints a page and lines that work when they are pasted, and no token', async () => {
    const running = await startAndWait();
    const text = running.output();
    const page = /The page: (\S+)/.exec(text)?.[1] ?? '';
    expect((await fetch(page)).headers.get('content-type')).toContain('text/html');
    const development = JSON.parse(await readFile(join(dir, 'dev.json'), 'utf8'));
    expect(development.edge_url).toBe(page);
    expect(text).not.toContain(development.publish_token);

    const [listen = '', publish = '', report = '', reported = ''] = text
      .split('\n')
      .filter((line) => line.startsWith('curl'));
    const listening = runCommand('bash', ['-c', listen], { cwd: tmpdir() });
    const delta = await runCommand('bash', ['-c', publish], { cwd: tmpdir() });
    const [, byNpm = ''] = /^ +(.* publish -- .*)$/m.exec(text) ?? [];
    const hello = await runCommand('bash', ['-c', byNpm], { cwd: root });
    const end = await runCommand('bash', ['-c', publish.replace('PHASE_DELTA', 'PHASE_END')], { cwd: tmpdir() });
    const { output } = await listening;
    const [first, last] = [delta, end].map((answer) => JSON.parse(answer.output).id);
    const ids = [first, hello.output.trim(), last];
    expect([...output.matchAll(/^id: (.*)$/gm)].map((match) => match[1])).toEqual(ids);

    const { id } = JSON.parse((await runCommand('bash', ['-c', report], { cwd: tmpdir() })).output);
    await until('what was reported is seen', async () => {
      const seen = await runCommand('bash', ['-c', reported], { cwd: tmpdir() });
      return JSON.parse(seen.output).events.some((event: { id: string }) => event.id === id);
    });
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('ends on %s, with everything that it started', async (signal) => {
    const running = await startAndWait();
    const before = running.output().length;
    running.process.kill(signal);
    expect(await running.ended).toBe(0);
    // It is what was asked for: no part of it has anything to warn of.
    expect(running.output().slice(before)).not.toMatch(/"level":|\[(?:warning|error|critical)\]/);
    await nothingIsLeft();
  });

  test('drains at a Ctrl-C, which a terminal sends and npm passes on', async () => {
    const running = await startAndWait();
    // Databases that are closed leave nothing beside them.
    const unclosed = async () => (await readdir(dir)).filter((name) => name.startsWith('control.sqlite-'));
    expect(await unclosed()).not.toEqual([]);
    running.process.kill('SIGINT');
    // The same one, before it was seen, would be none.
    running.process.kill('SIGTERM');
    expect(await running.ended).toBe(0);
    expect(await unclosed()).toEqual([]);
  });

  test('sends listeners away at a Ctrl-C, also the last of many, and cuts none', async () => {
    const running = await startAndWait();
    const edgeUrl = `http://127.0.0.1:${edgePort}`;
    const access = { ...(await startStream(edgeUrl)), url: `${edgeUrl}/events/1` };
    const heard = await Promise.all(Array.from({ length: 400 }, () => listen(eventsUrl(access))));
    running.process.kill('SIGINT');
    expect(await running.ended).toBe(0);
    await until('all have ended', () => heard.every((each) => each.end() !== 'open'));
    // The first `retry:` is every stream's.
    const goodbyes = heard.map((each) => [each.end(), each.events().length]);
    expect(goodbyes).toEqual(heard.map(() => ['whole', 2]));
  });

  test('says so when another has the same data', async () => {
    const first = await startAndWait();
    const [otherEdge, otherPort] = [await freePort(), await freePort()];
    const second = await startAndWait({ EDGE_PORT: `${otherEdge}`, PORT: `${otherPort}` });
    expect(second.output()).toMatch(
      new RegExp(`^tideway: the one at http://localhost:${edgePort} has the same data, `),
    );
    second.process.kill('SIGINT');
    expect(await second.ended).toBe(0);
    const third = await startAndWait({ EDGE_PORT: `${otherEdge}`, PORT: `${otherPort}` });
    expect(third.output()).not.toContain('has the same data');
    expect(first.output()).not.toContain('has the same data');
  });

  test('leaves nothing when it is killed', async () => {
    const temporary = join(dir, 'temporary');
    await mkdir(temporary);
    const running = await startAndWait({ TMPDIR: temporary });
    expect(await readdir(temporary)).toHaveLength(1);
    running.process.kill('SIGKILL');
    await running.ended;
    await nothingIsLeft();
    await until('nor its folder', async () => (await readdir(temporary)).length === 0);
  });

  test.each([
    ['Envoy', '/envoy '],
    ['the monolith', 'services/monolith'],
  ])('ends when %s dies, and says so', async (name, command) => {
    const running = await startAndWait();
    process.kill(childOf(running.process, command), 'SIGKILL');
    expect(await running.ended).toBe(1);
    expect(running.output()).toContain(`tideway: ${name} was ended by SIGKILL\n`);
    await nothingIsLeft();
  });
});

test('says that it waits for a database', async () => {
  const running = start({ DATABASE_URL: 'postgres://127.0.0.1:1/none' });
  await until('it says so', () => running.output().includes('tideway: still starting: a database '));
  running.process.kill('SIGINT');
  expect(await running.ended).toBe(0);
  await nothingIsLeft();
});

describe('one clear line, and nothing left running, for', () => {
  async function refusal(env: Readonly<Record<string, string>> = {}): Promise<string> {
    const running = start(env);
    expect(await running.ended).toBe(1);
    await nothingIsLeft();
    return running.output();
  }

  test.each(['EDGE_PORT', 'PORT'])('a taken %s', async (name) => {
    const taken = name === 'PORT' ? port : edgePort;
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(taken, '127.0.0.1', resolve));
    const running = start();
    expect(await running.ended).toBe(1);
    expect(running.output()).toBe(
      `tideway: port ${taken} on 127.0.0.1 is taken by another program: set ${name} to another one\n`,
    );
    await new Promise((resolve) => other.close(resolve));
  });

  test.each([
    ['a port that is none', { EDGE_PORT: 'http' }, /^tideway: EDGE_PORT must be a port.*\n$/],
    ['a bad key', { GATEWAY_JWT_PRIVATE_KEY: 'nonsense' }, /^tideway: GATEWAY_JWT_PRIVATE_KEY .*\n$/],
    ['a wrong limit of the edge', { EDGE_RATE_PER_SEC: 'many' }, /^edge: EDGE_RATE_PER_SEC must be .*\n$/],
    ['a log level that is none', { LOG_LEVEL: 'loud' }, /^tideway: LOG_LEVEL must be one of trace, .*\n$/],
    [
      'no folder for its data',
      { TIDEWAY_DATA_DIR: '/dev/null' },
      /^tideway: TIDEWAY_DATA_DIR: .* ENOTDIR: .*'\/dev\/null\/keys'\n$/,
    ],
    ['production without its settings', { NODE_ENV: 'production' }, /^tideway: [A-Z_]+ is not set\n$/],
    [
      "an address that is not this machine's",
      { TIDEWAY_HOST: '240.0.0.1' },
      /^tideway: can't listen on .* 240\.0\.0\.1 .*\n$/,
    ],
    ['an Envoy that ends at once', { TIDEWAY_ENVOY: '/bin/false' }, /^tideway: Envoy ended with exit code 1\n$/],
    ['an Envoy that is not there', { TIDEWAY_ENVOY: '/nowhere' }, /^tideway: TIDEWAY_ENVOY names \/nowhere.*\n$/],
  ])('%s', async (_, env, line) => {
    expect(await refusal(env)).toMatch(line);
  });

  test('a key file of an earlier start that is broken', async () => {
    const first = await startAndWait();
    first.process.kill('SIGINT');
    await first.ended;
    await writeFile(join(dir, 'keys', 'development-keys.json'), '{');
    expect(await refusal()).toMatch(/^tideway: .*development-keys\.json.*\n$/);
  });
});
