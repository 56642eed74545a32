// @ts-check
// `npm start`: Tideway on this machine, Envoy in front of one process that is everything else. It needs only Node 20,
// npm and python3, so it is plain JavaScript; what it starts runs on the Node that it installs.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { anotherWith } from './lib/another.mjs';
import { startChild } from './lib/child.mjs';
import { ensureEnvoy, envoyArguments } from './lib/envoy.mjs';
import { Failure, run } from './lib/failure.mjs';
import { requireMachine } from './lib/machine.mjs';
import { ensurePackages } from './lib/packages.mjs';
import { portFrom, requireFreePort } from './lib/ports.mjs';
import { node, root, withPrograms } from './lib/project.mjs';
import { runCommand } from './lib/run-command.mjs';
import { stopRequest } from './lib/stop-request.mjs';
import { waitForHealth } from './lib/wait-for-health.mjs';
import { welcome } from './lib/welcome.mjs';

/** @typedef {import('./lib/child.mjs').Child} Child */

const DEFAULT_DATA_DIR = '.tideway';
const MONOLITH = 'the monolith';
/** Longer than a service waits for a database: it then says itself what it can't reach. */
const READY_DEADLINE_MS = 60_000;
/** From then on silence would be taken for a hang. */
const PATIENCE_MS = 5_000;
/** A developer's Ctrl-C should not take as long as a deployment's drain. */
const DEVELOPMENT_DRAIN_SEC = 2;
const DEFAULT_DRAIN_SEC = 30;
/** How long a child may take after its drain. */
const GRACE_MS = 2_000;

async function main() {
  requireMachine();
  const settings = readSettings(process.env);
  await requireFreePort('EDGE_PORT', settings.edgeHost, settings.edgePort);
  await requireFreePort('PORT', '127.0.0.1', settings.port);
  const envoy = await ensureEnvoy();
  await ensurePackages();
  const other = settings.isProduction ? undefined : await anotherWith(settings.devFile);
  if (other !== undefined) {
    process.stderr.write(
      `tideway: the one at ${other} has the same data, and publish, listen and admin go to this one from now on: ` +
        'set TIDEWAY_DATA_DIR to give this one a folder of its own\n',
    );
  }

  /** @type {Child[]} Ended in this order: Envoy last, so that listeners hear that the service goes. */
  const children = [];
  const stop = stopRequest(() => {
    for (const child of children) child.kill();
  });
  // For Envoy's configuration and its admin socket, whose path must be short.
  const folder = mkdtempSync(join(tmpdir(), 'tideway-'));
  try {
    const config = await renderConfig(folder, settings.env);
    children.push(startChild(MONOLITH, node, ['services/monolith/main.ts'], { cwd: root, env: settings.env }));
    const patience = settings.hasDatabase ? setTimeout(sayWaiting, PATIENCE_MS) : undefined;
    const outcome = await readiness(`http://127.0.0.1:${settings.port}/healthz`, children, stop);
    clearTimeout(patience);
    if (outcome === 'stop') return;
    children.push(startChild('Envoy', envoy, envoyArguments(config), { cwd: root, env: settings.env, folder }));
    if ((await readiness(`${settings.url}/healthz`, children, stop)) === 'stop') return;

    process.stdout.write(settings.isProduction ? `Tideway is up: ${settings.url}\n` : developmentWelcome(settings));
    const end = await Promise.race([stop, firstEnd(children)]);
    if (end !== 'stop') throw new Failure(`${end.name} ${end.how}`);
  } finally {
    for (const child of children) await child.stop(settings.drainMs + GRACE_MS);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {NodeJS.ProcessEnv} given */
function readSettings(given) {
  const isProduction = given['NODE_ENV'] === 'production';
  const edgeHost = given['EDGE_HOST'] || '127.0.0.1';
  const edgePort = portFrom(given, 'EDGE_PORT', 8080);
  const port = portFrom(given, 'PORT', 9000);
  if (port === edgePort) throw new Failure(`EDGE_PORT and PORT are both ${port}: they must differ`);
  const url = `http://${urlHost(edgeHost)}:${edgePort}`;
  const drainSec = given['DRAIN_TIMEOUT_SEC'] || String(isProduction ? DEFAULT_DRAIN_SEC : DEVELOPMENT_DRAIN_SEC);
  const env = withPrograms({
    ...given,
    TIDEWAY_PUBLIC_URL: given['TIDEWAY_PUBLIC_URL'] || url,
    DRAIN_TIMEOUT_SEC: drainSec,
  });
  const folder = resolve(root, given['TIDEWAY_DATA_DIR'] || DEFAULT_DATA_DIR);
  const devFile = join(folder, 'dev.json');
  const dataDir = folder === resolve(root, DEFAULT_DATA_DIR) ? undefined : folder;
  // What is no number is refused by the service, which says so.
  return {
    isProduction,
    edgeHost,
    edgePort,
    port,
    url,
    env,
    devFile,
    dataDir,
    drainMs: (Number(drainSec) || 0) * 1_000,
    hasDatabase: Boolean(given['DATABASE_URL']),
  };
}

/**
 * @param {string} folder
 * @param {NodeJS.ProcessEnv} env
 */
async function renderConfig(folder, env) {
  const file = join(folder, 'envoy.json');
  const args = ['envoy/render.ts', 'local', '--admin', join(folder, 'admin.sock'), '--out', file];
  const { code } = await runCommand(node, args, { cwd: root, env, show: true });
  if (code !== 0) throw new Failure();
  return file;
}

/**
 * @param {string} url
 * @param {readonly Child[]} children
 * @param {Promise<'stop'>} stop
 * @returns {Promise<'ready' | 'stop'>}
 */
async function readiness(url, children, stop) {
  const asking = new AbortController();
  const deadline = setTimeout(() => asking.abort(), READY_DEADLINE_MS);
  const outcome = await Promise.race([waitForHealth(url, asking.signal), firstEnd(children), stop]);
  asking.abort();
  clearTimeout(deadline);
  if (outcome === 'ready' || outcome === 'stop') return outcome;
  if (outcome === 'too late') throw new Failure(`${url} did not answer within ${READY_DEADLINE_MS / 1_000} s`);
  // Exit code 1 is our services' way to end after they have said why they can't start.
  throw new Failure(outcome.code === 1 && outcome.name === MONOLITH ? '' : `${outcome.name} ${outcome.how}`);
}

function sayWaiting() {
  process.stderr.write("tideway: still starting: a database that can't be reached is waited for half a minute\n");
}

/** @param {readonly Child[]} children */
function firstEnd(children) {
  return Promise.race(children.map(async (child) => ({ name: child.name, ...(await child.ended) })));
}

/** @param {{ url: string, devFile: string, dataDir: string | undefined }} settings */
function developmentWelcome({ url, devFile, dataDir }) {
  const { org_id: orgId, dsn } = JSON.parse(readFileSync(devFile, 'utf8'));
  return welcome({ url, devFile, orgId, channelId: randomUUID(), dsn, dataDir });
}

/** @param {string} host Where the edge listens. */
function urlHost(host) {
  if (['127.0.0.1', '0.0.0.0', '::1', '::'].includes(host)) return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}

await run('tideway', main);
