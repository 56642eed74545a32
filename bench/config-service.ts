import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { create } from '@bufbuild/protobuf';
import { FilterSettingsSchema, QuotaSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import { createConfigCache } from '#lib/config-cache/create-config-cache.ts';
import { Gate } from '#lib/server/gate.ts';
import { runService } from '#lib/server/run-service.ts';
import { openStore } from '#lib/store/open-store.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { getProjectConfigs } from '../services/config/get-project-configs.ts';
import { configService } from '../services/config/routes.ts';
import type { Done, Job, Start } from './config-service-relay.ts';

// `node bench/config-service.ts [projects]`: how long a warm lookup of 500 random keys takes, in process and through the
// RPC, for a relay that is a process of its own. SQLite, all cached. CPU is that of this process, the server.

const PROJECTS = Number(process.argv[2] ?? 5_000);
const KEYS_AT_ONCE = 500;
const ROUNDS = 3_000;
const WARM_UP_ROUNDS = 1_000;
const TOKEN = 'the token of the relays of this benchmark';

const dataDir = await mkdtemp(join(tmpdir(), 'tideway-bench-'));
const store = await openStore({ dataDir });
const organization = await store.organizations.create('system', { name: 'Bench', region: 'here' });
const keys: string[] = [];
for (let n = 0; n < PROJECTS; n += 1) {
  const project = await store.projects.create('system', organization.id, {
    name: `project ${n}`,
    slug: `project-${n}`,
    filters: create(FilterSettingsSchema, { webCrawlers: true, errorMessages: ['*timeout*'] }),
    quotas: [create(QuotaSchema, { id: 'errors', categories: ['error'], limit: 1000n, windowSec: 60 })],
  });
  const [key] = (await store.keys.list(project.id, {})).items;
  if (key !== undefined) keys.push(key.publicKey);
}
let queries = 0;
const cache = createConfigCache({
  store: {
    changes: store.changes,
    configs: {
      get: (wanted) => {
        queries += 1;
        return store.configs.get(wanted);
      },
    },
  },
  maxBytes: 1 << 30,
  graceMs: 120_000,
  ttlMs: 86_400_000,
  onError: (error) => {
    throw error;
  },
});
for (let from = 0; from < keys.length; from += KEYS_AT_ONCE) {
  await cache.lookup(keys.slice(from, from + KEYS_AT_ONCE), 60_000);
}
const loads = queries;
const service = await runService({
  host: '127.0.0.1',
  port: 0,
  parts: [
    configService({
      gate: new Gate({}),
      cache,
      relays: { tokens: [{ secret: TOKEN, isTrusted: true }], keys: [] },
    }),
  ],
  reflection: false,
  drainTimeoutMs: 1000,
  logger: createLogger('bench', 'silent'),
});
const revisions = new Map(
  [...(await cache.lookup(keys, 60_000))].map(([key, found]) => [key, found.kind === 'config' ? found.revision : 0n]),
);

const randomKeys = () =>
  Array.from({ length: KEYS_AT_ONCE }, () => keys[Math.floor(Math.random() * keys.length)] ?? '');
const inProcess = (isKnown: boolean) => {
  const asked = randomKeys().map((publicKey) => ({
    $typeName: 'tideway.config.v1.KnownKey' as const,
    publicKey,
    revision: isKnown ? (revisions.get(publicKey) ?? 0n) : 0n,
  }));
  return getProjectConfigs(
    cache,
    { $typeName: 'tideway.config.v1.GetProjectConfigsRequest', keys: asked, seen: '' },
    { isTrusted: true },
    true,
  );
};

const relay = fork(join(import.meta.dirname, 'config-service-relay.ts'), {
  serialization: 'advanced',
  execArgv: ['--expose-gc'],
});
const told = async (what: Start | Job): Promise<unknown> => {
  relay.send(what);
  const [answer] = await once(relay, 'message');
  return answer;
};
await told({
  baseUrl: `http://127.0.0.1:${service.port}`,
  token: TOKEN,
  keys: keys.map((key) => [key, revisions.get(key) ?? 0n]),
});
const byGrpc = (job: Pick<Job, 'until' | 'isKnown'> & Partial<Job>) => async (rounds: number) =>
  (await told({ acceptsGzip: false, keysAtOnce: KEYS_AT_ONCE, rounds, ...job })) as Done;
const here = (isKnown: boolean) => async (rounds: number) => {
  const timesMs: number[] = [];
  for (let n = 0; n < rounds; n += 1) {
    const beganMs = performance.now();
    await inProcess(isKnown);
    timesMs.push(performance.now() - beganMs);
  }
  return { timesMs, sizeBytes: 0 };
};

await measure('in process, all configs', here(false));
await measure('in process, all unchanged', here(true));
await measure('by gRPC to the last byte, all configs', byGrpc({ until: 'bytes', isKnown: false }));
await measure('by gRPC to the last byte, all unchanged', byGrpc({ until: 'bytes', isKnown: true }));
await measure('by gRPC with decoding, all configs', byGrpc({ until: 'messages', isKnown: false }));
await measure('by gRPC with decoding, all unchanged', byGrpc({ until: 'messages', isKnown: true }));
await measure(
  'by gRPC with decoding, all configs, gzip',
  byGrpc({ until: 'messages', isKnown: false, acceptsGzip: true }),
);
process.stdout.write(`${keys.length} keys, ${loads} queries before and ${queries - loads} while measuring\n`);
relay.disconnect();
await service.stop();
await store.close();
await rm(dataDir, { recursive: true, force: true });

async function measure(what: string, run: (rounds: number) => Promise<Done>): Promise<void> {
  await run(WARM_UP_ROUNDS);
  const cpu = process.cpuUsage();
  const { timesMs, sizeBytes } = await run(ROUNDS);
  const { user, system } = process.cpuUsage(cpu);
  process.stdout.write(
    `${what}: ${summary(timesMs)}; ` +
      `${((user + system) / 1000 / ROUNDS).toFixed(2)} ms of CPU${sizeBytes > 0 ? `, ${sizeBytes} bytes` : ''}\n`,
  );
}

function summary(timesMs: readonly number[]): string {
  const sorted = timesMs.toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.ceil(share * sorted.length) - 1] ?? 0).toFixed(2);
  return `p50 ${at(0.5)} ms, p98 ${at(0.98)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`;
}
