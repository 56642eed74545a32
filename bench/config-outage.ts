import { readFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from '#gen/grpc/health/v1/health_pb.ts';
import { ConfigService } from '#gen/tideway/config/v1/config_service_pb.ts';
import { STORE_HEALTH_SERVICE } from '#lib/server/run-service.ts';
import { openPostgres } from '#lib/store/postgres-database.ts';
import { createStore } from '#lib/store/sql-store.ts';
import { startPostgres } from '../test/support/postgres.ts';
import { startService } from '../test/support/tideway.ts';
import { until } from '../test/support/until.ts';

// `node bench/config-outage.ts [kill|pause] [seconds]`: what relays hear while PostgreSQL is away (60 s unless it is said),
// killed or paused, which answers nothing and refuses nothing. The config service is a process of its own, without Redis.
// Each second 1,000 cached keys are asked for, in 20 calls of 40 keys and 200 calls of one; and 10 keys that were never
// asked for before: 5 alone, 5 beside a cached one. It says what was answered, and how long all took to be well again.

const HOW = process.argv[2] === 'pause' ? 'pause' : 'kill';
const OUTAGE_SEC = Number(process.argv[3] ?? 60);
const BEFORE_SEC = 5;
const AFTER_SEC = 10;
const CACHED = 500;
const TICKS_A_SEC = 20;
const KEYS_TOGETHER = 40;
const KEYS_ALONE = 10;
const UNCACHED_EACH_TICKS = 4;
const UNCACHED = ((BEFORE_SEC + OUTAGE_SEC + AFTER_SEC) * TICKS_A_SEC * 2) / UNCACHED_EACH_TICKS + 100;
const RSS_EACH_SEC = 10;
const CALL_TIMEOUT_MS = 2_000;
const RECOVERY_TIMEOUT_MS = 60_000;
const TOKEN = 'the token of the relays of this benchmark';

const server = await startPostgres();
const url = await server.createDatabase();
const store = createStore(await openPostgres({ url }));
const organization = await store.organizations.create('system', { name: 'Bench', region: 'here' });
const keys: { publicKey: string; projectId: bigint }[] = [];
for (let n = 0; n < CACHED + UNCACHED; n += 1) {
  const { id } = await store.projects.create('system', organization.id, { name: `p${n}`, slug: `p-${n}` });
  const [key] = (await store.keys.list(id, {})).items;
  if (key !== undefined) keys.push({ publicKey: key.publicKey, projectId: id });
}
await store.close();
const cached = keys.slice(0, CACHED).map(({ publicKey }) => publicKey);
const uncached = keys.slice(CACHED).map(({ publicKey }) => publicKey);

const service = await startService('config', {
  NODE_ENV: 'production',
  DATABASE_URL: url,
  RELAY_TOKEN: TOKEN,
});
let ended = false;
void service.exited.then(() => {
  ended = true;
});
async function measure(): Promise<void> {
  const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${service.port}`, acceptCompression: [] });
  const relay = createClient(ConfigService, transport);
  const health = createClient(Health, transport);
  const ask = async (publicKeys: readonly string[]) => {
    const { answers } = await relay.getProjectConfigs(
      { keys: publicKeys.map((publicKey) => ({ publicKey })) },
      { headers: { Authorization: `Bearer ${TOKEN}` }, timeoutMs: CALL_TIMEOUT_MS },
    );
    return answers.map(({ answer }) => answer.case ?? 'nothing');
  };
  const storeHealth = async () => (await health.check({ service: STORE_HEALTH_SERVICE })).status;
  await until('all is cached', async () => (await ask(cached)).every((found) => found === 'config'));
  process.stdout.write(`${cached.length} keys cached\n`);

  const residentMib = [await rss()];
  let phase = new Phase('before');
  const underWay = new Set<Promise<void>>();
  const call = (publicKeys: readonly string[], take: (found: string[] | ConnectError, tookMs: number) => void) => {
    const beganMs = performance.now();
    const done = ask(publicKeys)
      .catch((error: unknown) => ConnectError.from(error))
      .then((found) => take(found, performance.now() - beganMs))
      .finally(() => underWay.delete(done));
    underWay.add(done);
  };
  const tick = (n: number) => {
    const now = phase;
    call(someCached(KEYS_TOGETHER), (found, tookMs) => now.cachedKeys(found, KEYS_TOGETHER, tookMs));
    for (const key of someCached(KEYS_ALONE)) call([key], (found, tookMs) => now.cachedKeys(found, 1, tookMs));
    if (n % UNCACHED_EACH_TICKS !== 0) return;
    call(uncached.splice(0, 1), (found) => now.uncachedKey(found));
    const [other = ''] = someCached(1);
    call([other, ...uncached.splice(0, 1)], (found, tookMs) => {
      now.cachedKeys(found instanceof ConnectError ? found : found.slice(0, 1), 1, tookMs);
      if (!(found instanceof ConnectError)) now.uncachedKey(found.slice(1));
    });
  };
  const load = async (seconds: number) => {
    const beganMs = performance.now();
    for (let n = 0; n < seconds * TICKS_A_SEC; n += 1) {
      tick(n);
      if ((n + 1) % (RSS_EACH_SEC * TICKS_A_SEC) === 0) residentMib.push(await rss());
      await delay(Math.max(0, beganMs + ((n + 1) * 1_000) / TICKS_A_SEC - performance.now()));
    }
  };

  await load(BEFORE_SEC);
  if (HOW === 'kill') await server.kill();
  else server.pause();
  const before = phase;
  phase = new Phase(`PostgreSQL away for ${OUTAGE_SEC} s (${HOW})`);
  await load(OUTAGE_SEC);
  process.stdout.write(
    `at its end ${STORE_HEALTH_SERVICE} is ${(await storeHealth()) === ServingStatus.SERVING ? 'SERVING' : 'NOT_SERVING'}\n`,
  );
  const during = phase;
  if (HOW === 'kill') await server.restart();
  else server.resume();
  phase = new Phase('after');
  const beganMs = performance.now();
  const since = () => `${Math.round(performance.now() - beganMs)} ms`;
  const fresh = uncached.splice(-1);
  const recovery = (async () => {
    await until('a new key is answered', async () => (await ask(fresh))[0] === 'config', RECOVERY_TIMEOUT_MS);
    const first = since();
    await until('health is well', async () => (await storeHealth()) === ServingStatus.SERVING, RECOVERY_TIMEOUT_MS);
    return `a new key answered after ${first}, health well after ${since()}`;
  })();
  const [, recovered] = await Promise.all([load(AFTER_SEC), recovery]);
  await Promise.all(underWay);
  for (const { text } of [before, during, phase]) process.stdout.write(`${text()}\n`);
  process.stdout.write(`${recovered}\n${await changeIsHeardOf(ask)}\n`);
  process.stdout.write(
    `the process ${ended ? 'ENDED' : 'is the same'}; resident, each ${RSS_EACH_SEC} s: ${residentMib.join(', ')} MiB\n`,
  );
}

/** That the log is followed again, and not only read. */
async function changeIsHeardOf(ask: (publicKeys: readonly string[]) => Promise<string[]>): Promise<string> {
  const { publicKey, projectId } = keys[0] ?? { publicKey: '', projectId: 0n };
  const again = createStore(await openPostgres({ url }));
  await again.keys.update('system', projectId, publicKey, { state: 'disabled' });
  const beganMs = performance.now();
  await until('a change is heard of', async () => (await ask([publicKey]))[0] === 'disabled', RECOVERY_TIMEOUT_MS);
  const tookMs = performance.now() - beganMs;
  await again.close();
  return `a key disabled then is refused after ${Math.round(tookMs)} ms`;
}

function someCached(count: number): string[] {
  return Array.from({ length: count }, () => cached[Math.floor(Math.random() * cached.length)] ?? '');
}

/** What was answered to calls that began in it. */
class Phase {
  readonly #name: string;
  readonly #cached = new Map<string, number>();
  readonly #uncached = new Map<string, number>();
  readonly #tookMs: number[] = [];

  constructor(name: string) {
    this.#name = name;
  }

  cachedKeys(found: string[] | ConnectError, count: number, tookMs: number): void {
    this.#tookMs.push(tookMs);
    for (const answer of found instanceof ConnectError ? Array<string>(count).fill(refused(found)) : found) {
      add(this.#cached, answer);
    }
  }

  uncachedKey(found: string[] | ConnectError): void {
    for (const answer of found instanceof ConnectError ? [refused(found)] : found) add(this.#uncached, answer);
  }

  readonly text = (): string => {
    const sorted = this.#tookMs.toSorted((a, b) => a - b);
    const at = (share: number) => (sorted[Math.ceil(sorted.length * share) - 1] ?? 0).toFixed(1);
    const cachedText = `${list(this.#cached)} in ${sorted.length} calls (p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms)`;
    return `${this.#name}:\n  cached keys: ${cachedText}\n  other keys: ${list(this.#uncached)}`;
  };
}

function refused(error: ConnectError): string {
  return `${Code[error.code]}${error.findDetails(RetryInfoSchema).length > 0 ? ' with RetryInfo' : ''}`;
}

function add(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function list(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${count} ${name}`).join(', ');
}

/** Of the service, as Linux counts. */
async function rss(): Promise<number> {
  const status = await readFile(`/proc/${service.pid}/status`, 'utf8').catch(() => '');
  return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN) / 1024);
}

// Last: what it uses must be there.
try {
  await measure();
} finally {
  service.kill('SIGKILL');
  await service.exited;
  await server.stop();
}
