import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient, createRouterTransport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { ControlService } from '#gen/tideway/control/v1/control_service_pb.ts';
import { State } from '#gen/tideway/control/v1/resources_pb.ts';
import { openCache as openConfigCacheOf, openStoreUnderTest } from '#lib/config-cache/config-testing.ts';
import { Gate } from '#lib/server/gate.ts';
import { refusalInterceptor } from '#lib/server/rpc.ts';
import { configService } from '../../services/config/routes.ts';
import { createProjectCache, type ProjectCacheOptions } from '../../services/relay/create-project-cache.ts';
import { type ConfigSource, EXPIRY_MS, type ProjectCache } from '../../services/relay/project-cache.ts';
import { loadOrCreateRelayIdentity, type RelayIdentity } from '../../services/relay/relay-identity.ts';
import { createRpcConfigSource, openConfigTransport } from '../../services/relay/rpc-config-source.ts';
import { createSentryConfigSource } from '../../services/relay/sentry-config-source.ts';
import { createSentryUpstream } from '../../services/relay/sentry-upstream.ts';
import { freePort } from '../support/free-port.ts';
import { startMonolith } from '../support/tideway.ts';
import { until } from '../support/until.ts';

// What a relay knows of projects, from the real config service: by RPC and as a Sentry relay.

const TOKEN = 'what the relays of this test ask for configs with';
/** For what hangs: an answer resolves at once when it is there. */
const PATIENCE_MS = 20_000;
const UNKNOWN = 'f'.repeat(32);

let dir: string;
let port: number;
let identity: RelayIdentity;
let tideway: Awaited<ReturnType<typeof startMonolith>>;

async function startTideway() {
  tideway = await startMonolith({
    TIDEWAY_DATA_DIR: dir,
    PORT: String(port),
    RELAY_TOKEN: TOKEN,
    RELAY_TRUSTED_KEYS: identity.publicKey,
  });
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tideway-relay-projects-'));
  port = await freePort();
  identity = await loadOrCreateRelayIdentity(join(dir, 'relay'));
  await startTideway();
});
afterAll(async () => {
  await tideway?.stop();
  await rm(dir, { recursive: true, force: true });
});

const url = () => `http://127.0.0.1:${port}`;

function openCache(source: ConfigSource, options: Partial<ProjectCacheOptions> = {}) {
  const errors: unknown[] = [];
  const cache = createProjectCache({ source, batchIntervalMs: 5, onError: (error) => errors.push(error), ...options });
  onTestFinished(() => cache.close());
  return { cache, errors };
}

function rpcCache(token = TOKEN) {
  const { transport, close } = openConfigTransport(url());
  onTestFinished(close);
  const watchErrors: unknown[] = [];
  const source = createRpcConfigSource({ transport, token, onError: (error) => watchErrors.push(error) });
  return { ...openCache(source), watchErrors };
}

function sentryCache(as: RelayIdentity, options: Partial<ProjectCacheOptions> = {}) {
  const source = createSentryConfigSource({ upstream: createSentryUpstream({ url: url(), identity: as }) });
  return openCache(source, { batchIntervalMs: 100, ...options });
}

/** Calls the control plane as whoever operates it. */
function control() {
  const client = createClient(ControlService, createGrpcTransport({ baseUrl: url() }));
  const { organization, operator_token } = tideway.development;
  const auth = { headers: { authorization: `Bearer ${operator_token}` } };
  return {
    async newProject(name: string) {
      const { slug: project } = await client.createProject({ organization, create: { name } }, auth);
      const { keys } = await client.listProjectKeys({ organization, project }, auth);
      return { project, key: keys[0]?.publicKey ?? '' };
    },
    setState: (project: string, key: string, state: State) =>
      client.updateProjectKey({ organization, project, key, update: { state } }, auth),
    limit: (project: string, key: string, count: bigint) =>
      client.updateProjectKey({ organization, project, key, update: { rateLimit: { windowSec: 60, count } } }, auth),
    update: (project: string, update: Parameters<typeof client.updateProject>[0]['update']) =>
      client.updateProject({ organization, project, update: update ?? {} }, auth),
  };
}

/** Far sooner than the 5 minutes after which a key is asked for again: in that time a change comes only as it is watched. */
async function untilSays(cache: ProjectCache, key: string, kind: string): Promise<void> {
  await until(`${key} is ${kind}`, () => cache.peek(key).kind === kind);
}

test('by RPC: pending, then what is; a change is known at once', async () => {
  const { cache, errors, watchErrors } = rpcCache();
  const { newProject, setState, limit } = control();
  const { project, key } = await newProject('by rpc');
  expect([cache.peek(key).kind, cache.peek(UNKNOWN).kind]).toEqual(['pending', 'pending']);
  expect(await cache.get(key, PATIENCE_MS)).toMatchObject({ kind: 'enabled', config: { slug: project, quotas: [] } });
  expect(await cache.get(UNKNOWN, PATIENCE_MS)).toEqual({ kind: 'disabled' });

  for (const [state, kind] of [
    [State.DISABLED, 'disabled'],
    [State.ACTIVE, 'enabled'],
    [State.DISABLED, 'disabled'],
    [State.ACTIVE, 'enabled'],
  ] as const) {
    await setState(project, key, state);
    await untilSays(cache, key, kind);
  }
  await limit(project, key, 5n);
  const quotas = [{ quota: { id: 'key', limit: 5n, windowSec: 60 } }];
  await until('it is limited', () => {
    expect(cache.peek(key)).toMatchObject({ kind: 'enabled', config: { quotas } });
    return true;
  });
  expect([errors, watchErrors]).toEqual([[], []]);
});

test('by RPC: with the config service killed what is known goes on; afterwards everything does', async () => {
  const { cache, errors } = rpcCache();
  const { newProject, setState } = control();
  const { project, key } = await newProject('outlives a kill');
  const other = await newProject('asked for too late');
  expect((await cache.get(key, PATIENCE_MS)).kind).toBe('enabled');
  expect((await cache.get(UNKNOWN, PATIENCE_MS)).kind).toBe('disabled');

  tideway.kill('SIGKILL');
  await tideway.exited;
  expect((await cache.get(other.key, 500)).kind).toBe('pending');
  expect([cache.peek(key).kind, cache.peek(UNKNOWN).kind]).toEqual(['enabled', 'disabled']);
  await until('it is told why', () => errors.length > 0);

  await startTideway();
  await untilSays(cache, other.key, 'enabled');
  await setState(project, key, State.DISABLED);
  // By then it watches again.
  await untilSays(cache, key, 'disabled');
  await setState(project, key, State.ACTIVE);
  await untilSays(cache, key, 'enabled');
});

test('in one process with the config service, without a port between them', async () => {
  const under = await openStoreUnderTest();
  const failed: unknown[] = [];
  const onError = (error: unknown) => failed.push(error);
  const relays = { tokens: [{ secret: TOKEN, isTrusted: true }], keys: [] };
  const part = configService({ gate: new Gate({}), cache: openConfigCacheOf(under), relays });
  const transport = createRouterTransport((router) => part.rpc(router, onError), {
    router: { interceptors: [refusalInterceptor(onError)] },
  });
  const { cache, errors } = openCache(createRpcConfigSource({ transport, token: TOKEN, onError }));
  const { project, publicKey } = await under.addProject('here');
  expect(await cache.get(publicKey, PATIENCE_MS)).toMatchObject({ kind: 'enabled', config: { slug: 'here' } });
  expect(await cache.get(UNKNOWN, PATIENCE_MS)).toEqual({ kind: 'disabled' });
  await under.store.keys.update('system', project.id, publicKey, { state: 'disabled' });
  await untilSays(cache, publicKey, 'disabled');
  cache.close();
  expect([errors, failed]).toEqual([[], []]);
});

test('by RPC: with a wrong token nothing is known, and it is said why', async () => {
  const { cache, errors, watchErrors } = rpcCache('wrong');
  expect((await cache.get(UNKNOWN, 300)).kind).toBe('pending');
  await until('both are told why', () => errors.length > 0 && watchErrors.length > 0);
  expect(cache.peek(UNKNOWN).kind).toBe('pending');
  expect(String(errors[0])).toContain('unauthenticated');
  expect(String(watchErrors[0])).toContain('unauthenticated');
});

test('as a Sentry relay: the same configs, and what changes is known when it expires', async () => {
  let skewMs = 0;
  const { cache, errors } = sentryCache(identity, { now: () => performance.now() + skewMs });
  const byRpc = rpcCache();
  const { newProject, setState, limit, update } = control();
  const { project, key } = await newProject('as sentry');
  await limit(project, key, 7n);
  await update(project, {
    allowedDomains: ['example.org', '*.example.net'],
    retentionDays: 30,
    filters: {
      browserExtensions: true,
      webCrawlers: true,
      localhost: true,
      legacyBrowsers: ['ie9'],
      clientIps: ['10.0.0.0/8'],
      errorMessages: ['*timeout*'],
      releases: ['1.*'],
      cspDisallowedSources: ['*.example.org'],
      transactions: ['*health*'],
    },
    scrubbing: {
      scrubData: true,
      scrubDefaults: true,
      scrubIpAddresses: true,
      sensitiveFields: ['iban'],
      excludeFields: ['ok'],
      piiConfigJson: '{"applications":{"$string":["@ip:hash"]}}',
    },
    quotas: [
      { id: 'errors', categories: ['error'], limit: 5n, windowSec: 60, reasonCode: 'too_many' },
      { id: 'count', categories: ['attachment'] },
      { id: 'none', categories: ['session'], limit: 0n },
    ],
  });
  expect(cache.peek(key).kind).toBe('pending');
  const state = await cache.get(key, PATIENCE_MS);
  expect(state.kind).toBe('enabled');
  expect(state).toEqual(await byRpc.cache.get(key, PATIENCE_MS));
  expect(await cache.get(UNKNOWN, PATIENCE_MS)).toEqual({ kind: 'disabled' });

  skewMs += EXPIRY_MS;
  cache.peek(key);
  await new Promise((resolve) => setTimeout(resolve, 300));
  // Unchanged: the same object.
  expect(cache.peek(key)).toBe(state);
  await setState(project, key, State.DISABLED);
  await untilSays(byRpc.cache, key, 'disabled');
  expect(cache.peek(key)).toBe(state);
  skewMs += EXPIRY_MS;
  await untilSays(cache, key, 'disabled');
  expect(errors).toEqual([]);
});

test('as a Sentry relay that is not known: nothing is, and it stops asking', async () => {
  const stranger = await loadOrCreateRelayIdentity(join(dir, 'stranger'));
  const { cache, errors } = sentryCache(stranger);
  expect((await cache.get(UNKNOWN, 1_500)).kind).toBe('pending');
  await until('it is told why', () => errors.length > 0);
  expect(cache.peek(UNKNOWN).kind).toBe('pending');
  expect(errors[0]).toMatchObject({ reason: 'stopped', status: 403 });
});
