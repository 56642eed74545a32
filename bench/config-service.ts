import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { create } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { ConfigService } from '#gen/tideway/config/v1/config_service_pb.ts';
import { FilterSettingsSchema, QuotaSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import { createConfigCache } from '#lib/config-cache/create-config-cache.ts';
import { Gate } from '#lib/server/gate.ts';
import { runService } from '#lib/server/run-service.ts';
import { openStore } from '#lib/store/open-store.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { getProjectConfigs } from '../services/config/get-project-configs.ts';
import { configService } from '../services/config/routes.ts';

// `node bench/config-service.ts [projects]`: how long a warm lookup of 500 random keys takes, in process and through the
// RPC, from a client in another process's place (the same process here: its decoding counts too). SQLite, all cached.

const PROJECTS = Number(process.argv[2] ?? 5_000);
const KEYS_AT_ONCE = 500;
const ROUNDS = 400;
const WARM_UP_ROUNDS = 100;
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
const baseUrl = `http://127.0.0.1:${service.port}`;
// As a relay beside the service would: to compress takes longer than to send.
const client = createClient(ConfigService, createGrpcTransport({ baseUrl, acceptCompression: [] }));
const compressing = createClient(ConfigService, createGrpcTransport({ baseUrl }));
const headers = { Authorization: `Bearer ${TOKEN}` };
const revisions = new Map(
  [...(await cache.lookup(keys, 60_000))].map(([key, found]) => [key, found.kind === 'config' ? found.revision : 0n]),
);

const randomKeys = () =>
  Array.from({ length: KEYS_AT_ONCE }, () => keys[Math.floor(Math.random() * keys.length)] ?? '');
const unknown = () => randomKeys().map((publicKey) => ({ publicKey, revision: 0n }));
const known = () => randomKeys().map((publicKey) => ({ publicKey, revision: revisions.get(publicKey) ?? 0n }));
const inProcess = (asked: ReturnType<typeof unknown>) =>
  getProjectConfigs(
    cache,
    { $typeName: 'tideway.config.v1.GetProjectConfigsRequest', keys: asked.map(asKnownKey), seen: '' },
    { isTrusted: true },
    true,
  );
const asKnownKey = (key: ReturnType<typeof unknown>[number]) =>
  ({ $typeName: 'tideway.config.v1.KnownKey', ...key }) as const;

await measure('in process, all configs', () => inProcess(unknown()));
await measure('in process, all unchanged', () => inProcess(known()));
await measure('by gRPC, all configs', () => client.getProjectConfigs({ keys: unknown() }, { headers }));
await measure('by gRPC, all unchanged', () => client.getProjectConfigs({ keys: known() }, { headers }));
await measure('by gRPC, all configs, gzip', () => compressing.getProjectConfigs({ keys: unknown() }, { headers }));
process.stdout.write(`${keys.length} keys, ${loads} queries before and ${queries - loads} while measuring\n`);
await service.stop();
await store.close();
await rm(dataDir, { recursive: true, force: true });

async function measure(what: string, lookup: () => Promise<unknown>): Promise<void> {
  for (let n = 0; n < WARM_UP_ROUNDS; n += 1) await lookup();
  const times: number[] = [];
  const cpu = process.cpuUsage();
  for (let n = 0; n < ROUNDS; n += 1) {
    const began = performance.now();
    await lookup();
    times.push(performance.now() - began);
  }
  const { user, system } = process.cpuUsage(cpu);
  times.sort((a, b) => a - b);
  const at = (share: number) => (times[Math.floor(share * times.length)] ?? 0).toFixed(2);
  process.stdout.write(
    `${what}: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ${((user + system) / 1000 / ROUNDS).toFixed(2)} ms of CPU\n`,
  );
}
