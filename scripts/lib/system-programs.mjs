// @ts-check
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Failure } from './failure.mjs';
import { javaProblem, kafkaInstalled } from './kafka.mjs';
import { runCommand } from './run-command.mjs';

const redisNames = ['redis-server'];
/** Debian keeps PostgreSQL's programs out of the PATH, as several versions may be there. */
const postgresFolder = '/usr/lib/postgresql';
const chromiumNames = ['chromium', 'chromium-browser', 'google-chrome'];
const chromiumApps = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
];

/** Where Debian and Ubuntu, Fedora, and Arch have libfaketime. */
const fakeTimeLibraries = [
  ...['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketimeMT.so.1`),
  '/usr/lib64/faketime/libfaketimeMT.so.1',
  '/usr/lib/faketime/libfaketimeMT.so.1',
];

/** The library that tests set the clocks of processes with, or undefined. */
export function findFakeTime() {
  return fakeTimeLibraries.find((path) => existsSync(path));
}

/** The Chromium (or Chrome) that tests open pages in, or undefined. */
export function findChromium() {
  return findProgram(chromiumNames) ?? chromiumApps.find((path) => existsSync(path));
}

/**
 * What the tests need of the system: Redis, PostgreSQL, a browser, a clock that can be set (on Linux), and for Kafka Java, with
 * Maven to install it. Installed by root on Debian and Ubuntu, asked for elsewhere.
 */
export async function ensureSystemPrograms() {
  const missing = await missingPackages();
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0 || findProgram(['apt-get']) === undefined) throw new Failure(howToInstall(missing));
  process.stderr.write(`Installing ${missing.join(' and ')}…\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await runCommand('apt-get', ['update', '-q'], { env });
  const { code, output } = await runCommand('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...missing], {
    env,
  });
  if (code !== 0) throw new Failure(`${howToInstall(missing)} (apt-get: ${output.trim().split('\n').at(-1)})`);
}

async function missingPackages() {
  return [
    ...(findProgram(redisNames) === undefined ? ['redis-server'] : []),
    ...(findProgram(['initdb']) === undefined && !existsSync(postgresFolder) ? ['postgresql'] : []),
    ...(findChromium() === undefined ? ['chromium'] : []),
    ...(process.platform === 'linux' && findFakeTime() === undefined ? ['libfaketime'] : []),
    ...((await javaProblem()) === undefined ? [] : ['default-jre-headless']),
    ...(kafkaInstalled() || findProgram(['mvn']) !== undefined ? [] : ['maven']),
  ];
}

/** @param {readonly string[]} missing */
function howToInstall(missing) {
  const how =
    process.platform === 'darwin'
      ? 'brew install redis postgresql@15 openjdk maven, and Google Chrome'
      : `apt-get install ${missing.join(' ')}, as root`;
  return `the tests need ${missing.join(' and ')}: ${how}`;
}

/** @param {readonly string[]} names */
function findProgram(names) {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    for (const name of names) {
      const path = join(folder, name);
      if (folder !== '' && isExecutable(path)) return path;
    }
  }
  return undefined;
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
