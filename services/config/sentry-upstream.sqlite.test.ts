import { create } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import {
  FilterSettingsSchema,
  QuotaSchema,
  RateLimitSchema,
  ScrubbingSettingsSchema,
} from '#gen/tideway/control/v1/resources_pb.ts';
import { openStoreUnderTest, PATIENCE_MS, type StoreUnderTest } from '#lib/config-cache/config-testing.ts';
import { createSentryRelay, type SentryRelay } from '../../test/support/sentry-relay.ts';
import { until } from '../../test/support/until.ts';
import { type ServiceUnderTest, startConfigService } from './config-testing.ts';
import { readRelayKey } from './relay-signature.ts';
import type { SigningRelay } from './relays.ts';

const CONFIGS = '/api/0/relays/projectconfigs/?version=3';
const UNKNOWN = 'f'.repeat(32);

interface Upstream {
  readonly under: StoreUnderTest;
  readonly service: ServiceUnderTest;
  readonly ours: SentryRelay;
  readonly theirs: SentryRelay;
  readonly stranger: SentryRelay;
}

async function startUpstream(): Promise<Upstream> {
  const under = await openStoreUnderTest();
  const keys: SigningRelay[] = [];
  const service = await startConfigService(under, keys);
  const [ours, theirs, stranger] = [1, 2, 3].map(() => createSentryRelay(service.url));
  if (!ours || !theirs || !stranger) throw new Error('there are three');
  for (const relay of [ours, theirs]) {
    const key = readRelayKey(relay.publicKey);
    if (key !== undefined) keys.push({ publicKey: relay.publicKey, key, isTrusted: relay === ours });
  }
  return { under, service, ours, theirs, stranger };
}

const errorQuota = { id: 'errors', categories: ['error'], limit: 5n, windowSec: 60, reasonCode: 'too_many' };

async function addProjectWithAll({ under, service }: Upstream) {
  const { store, organization } = under;
  const { project, publicKey } = await under.addProject('web');
  await store.organizations.update('system', organization.id, {
    quotas: [create(QuotaSchema, { id: 'all', limit: 1_000n, windowSec: 3600 }), create(QuotaSchema, { id: 'count' })],
  });
  await store.keys.update('system', project.id, publicKey, {
    rateLimit: create(RateLimitSchema, { count: 0n, windowSec: 10 }),
  });
  const updated = await store.projects.update('system', organization.id, project.id, {
    quotas: [create(QuotaSchema, errorQuota)],
    filters: create(FilterSettingsSchema, {
      browserExtensions: true,
      webCrawlers: true,
      localhost: true,
      legacyBrowsers: ['ie9'],
      clientIps: ['10.0.0.0/8'],
      errorMessages: ['*timeout*'],
      releases: ['1.*'],
      cspDisallowedSources: ['*.example.org'],
      transactions: ['*health*'],
    }),
    scrubbing: create(ScrubbingSettingsSchema, {
      scrubData: true,
      scrubDefaults: true,
      scrubIpAddresses: true,
      sensitiveFields: ['iban'],
      excludeFields: ['ok'],
      piiConfigJson: '{"applications":{"$string":["@ip:hash"]}}',
    }),
    allowedDomains: ['example.org'],
    retentionDays: 30,
  });
  const key = await store.keys.get(project.id, publicKey);
  await service.cache.lookup([publicKey], PATIENCE_MS);
  return { project: updated, publicKey, keyId: Number(key?.id) };
}

describe('projectconfigs', () => {
  test('the whole state, as Sentry spells it', async () => {
    const upstream = await startUpstream();
    const { project, publicKey, keyId } = await addProjectWithAll(upstream);
    const { status, json } = await upstream.ours.post(CONFIGS, {
      publicKeys: [publicKey, UNKNOWN, 'no key', 7],
      revisions: [null, null, null, null],
      fullConfig: true,
      noCache: false,
      global: true,
    });
    expect(status).toBe(200);
    const { organization } = upstream.under;
    const events = ['default', 'error', 'transaction', 'security', 'user_report_v2'];
    expect(json).toEqual({
      configs: {
        [publicKey]: {
          projectId: Number(project.id),
          slug: 'web',
          rev: String(project.revision),
          lastChange: null,
          disabled: false,
          organizationId: Number(organization.id),
          publicKeys: [{ publicKey, numericId: keyId }],
          config: {
            allowedDomains: ['example.org'],
            trustedRelays: [],
            piiConfig: { applications: { $string: ['@ip:hash'] } },
            datascrubbingSettings: {
              scrubData: true,
              scrubDefaults: true,
              scrubIpAddresses: true,
              sensitiveFields: ['iban'],
              excludeFields: ['ok'],
            },
            filterSettings: {
              browserExtensions: { isEnabled: true },
              webCrawlers: { isEnabled: true },
              localhost: { isEnabled: true },
              legacyBrowsers: { isEnabled: true, options: ['ie9'] },
              clientIps: { blacklistedIps: ['10.0.0.0/8'] },
              errorMessages: { patterns: ['*timeout*'] },
              releases: { releases: ['1.*'] },
              csp: { disallowedSources: ['*.example.org'] },
              ignoreTransactions: { isEnabled: true, patterns: ['*health*'] },
            },
            quotas: [
              quota('all', events, 'organization', organization.id, 1000, 3600, null),
              quota('count', [], 'organization', organization.id, null, null, null),
              quota('errors', ['error'], 'project', project.id, 5, 60, 'too_many'),
              quota('key', [], 'key', keyId, 0, 10, 'key_rate_limit'),
            ],
            eventRetention: 30,
            features: [],
          },
        },
        [UNKNOWN]: null,
      },
      pending: [],
      unchanged: [],
      global: {},
      globalStatus: 'ready',
    });
  });

  test('revisions go by index; with another number of them none counts', async () => {
    const upstream = await startUpstream();
    const { project, publicKey } = await addProjectWithAll(upstream);
    const rev = String(project.revision);
    const ask = async (revisions: unknown) =>
      (await upstream.ours.post(CONFIGS, { publicKeys: ['bad', publicKey], revisions, fullConfig: true })).json;
    expect(await ask([null, rev])).toEqual({ configs: {}, pending: [], unchanged: [publicKey] });
    for (const revisions of [[null, '1'], [rev], [rev, rev, rev], undefined, 'x', [rev, Number(rev)]]) {
      const { configs, unchanged } = await ask(revisions);
      expect([configs[publicKey]?.rev, unchanged]).toEqual([rev, []]);
    }
  });

  test('limited configs have no quotas; who is not ours gets no others', async () => {
    const upstream = await startUpstream();
    const { publicKey } = await addProjectWithAll(upstream);
    const body = { publicKeys: [publicKey] };
    for (const relay of [upstream.ours, upstream.theirs]) {
      const { status, json } = await relay.post(CONFIGS, body);
      expect(status).toBe(200);
      expect(json.configs[publicKey]?.config).toMatchObject({ quotas: [], allowedDomains: ['example.org'] });
      expect(json).not.toHaveProperty('global');
    }
    expect((await upstream.theirs.post(CONFIGS, { ...body, fullConfig: true })).status).toBe(403);
  });

  test('a disabled key is null; without cache nothing is older than the question', async () => {
    const upstream = await startUpstream();
    const { project, publicKey } = await addProjectWithAll(upstream);
    for (const state of ['disabled', 'active', 'disabled', 'active'] as const) {
      await upstream.under.store.keys.update('system', project.id, publicKey, { state });
      await until('it is not pending', async () => {
        const { json } = await upstream.ours.post(CONFIGS, { publicKeys: [publicKey], noCache: true });
        if (json.pending.length > 0) return false;
        expect(json.configs[publicKey] === null).toBe(state === 'disabled');
        return true;
      });
    }
  });

  test('rules that are nested too deep cost other projects nothing', async () => {
    const upstream = await startUpstream();
    const { publicKey } = await addProjectWithAll(upstream);
    const { store, organization, addProject } = upstream.under;
    const deep = await addProject('deep');
    const piiConfigJson = `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
    await store.projects.update('system', organization.id, deep.project.id, {
      scrubbing: create(ScrubbingSettingsSchema, { piiConfigJson }),
    });
    const { status, json } = await upstream.ours.post(CONFIGS, {
      publicKeys: [publicKey, deep.publicKey],
      noCache: true,
    });
    expect(status).toBe(200);
    expect(json.configs[publicKey]?.config).toMatchObject({ piiConfig: { applications: { $string: ['@ip:hash'] } } });
    expect(json.configs[deep.publicKey]?.config).toMatchObject({ piiConfig: null });
  });

  test('pending where it takes long, 503 where the store is away', async () => {
    const upstream = await startUpstream();
    const { publicKey } = await addProjectWithAll(upstream);
    const { promise, resolve } = Promise.withResolvers<void>();
    upstream.under.held = promise;
    const { json } = await upstream.ours.post(CONFIGS, { publicKeys: [publicKey, UNKNOWN] });
    expect([Object.keys(json.configs), json.pending]).toEqual([[publicKey], [UNKNOWN]]);
    resolve();
    upstream.under.isAway = true;
    expect(await upstream.service.cache.catchUp(PATIENCE_MS)).toBe(false);
    const other = 'e'.repeat(32);
    const mixed = await upstream.ours.post(CONFIGS, { publicKeys: [publicKey, other] });
    expect([Object.keys(mixed.json.configs), mixed.json.pending]).toEqual([[publicKey], [other]]);
    expect((await upstream.ours.post(CONFIGS, { publicKeys: [other] })).status).toBe(503);
  });

  test('other versions, other bodies, too much', async () => {
    const { ours } = await startUpstream();
    const body = { publicKeys: [] };
    for (const query of ['', '?version=2', '?version=1', '?version=x']) {
      expect((await ours.post(`/api/0/relays/projectconfigs/${query}`, body)).status).toBe(400);
    }
    for (const bad of ['', '[]', '{', 'null', {}, { publicKeys: 'x' }]) {
      expect((await ours.post(CONFIGS, bad)).status).toBe(400);
    }
    const large = await ours.post(CONFIGS, { publicKeys: [], padding: 'x'.repeat(256 * 1024) });
    expect(large).toMatchObject({ status: 413, json: { detail: expect.any(String) } });
    expect((await ours.post(CONFIGS, body, { headers: { 'content-encoding': 'zstd' } })).status).toBe(415);
    expect((await ours.post('//api//0/relays/projectconfigs?version=3', body)).status).toBe(200);
  });
});

describe('signatures', () => {
  test.each([
    ['none', { headers: { 'x-sentry-relay-signature': undefined } }],
    ['malformed', { headers: { 'x-sentry-relay-signature': 'a.b' } }],
    ['six minutes old', { signedAtMs: Date.now() - 6 * 60_000 }],
    ['of tomorrow', { signedAtMs: Date.now() + 86_400_000 }],
    ['of another body', { sentBody: '{"publicKeys":["f"]}' }],
  ])('%s: 401', async (_, options) => {
    const { ours } = await startUpstream();
    expect((await ours.post(CONFIGS, { publicKeys: [] }, options)).status).toBe(401);
  });

  test('four minutes old is taken; a stranger is not; an id is needed', async () => {
    const { ours, stranger } = await startUpstream();
    const body = { publicKeys: [] };
    expect((await ours.post(CONFIGS, body, { signedAtMs: Date.now() - 4 * 60_000 })).status).toBe(200);
    expect((await stranger.post(CONFIGS, body)).status).toBe(401);
    expect((await ours.post(CONFIGS, body, { headers: { 'x-sentry-relay-id': 'x' } })).status).toBe(400);
  });
});

describe('registration', () => {
  test('challenge and response; then others can ask for its key', async () => {
    const { ours, theirs } = await startUpstream();
    const { challenge, response } = await ours.register();
    expect(challenge).toEqual({ status: 200, json: { relay_id: ours.id, token: expect.any(String) } });
    expect(response).toEqual({ status: 200, json: { relay_id: ours.id } });
    const { json } = await theirs.post('/api/0/relays/publickeys/', { relay_ids: [ours.id, theirs.id] });
    expect(json).toEqual({
      public_keys: { [ours.id]: ours.publicKey, [theirs.id]: null },
      relays: { [ours.id]: { publicKey: ours.publicKey, internal: true }, [theirs.id]: null },
    });
  });

  test('a stranger is told to stop', async () => {
    const { stranger } = await startUpstream();
    const { challenge } = await stranger.register();
    expect(challenge).toMatchObject({ status: 403, json: { relay: 'stop' } });
  });

  test('a key alone is not enough, nor is a token of somebody else', async () => {
    const { ours, theirs, stranger } = await startUpstream();
    const asOurs = { relay_id: stranger.id, public_key: ours.publicKey, version: '26.1.0' };
    expect((await stranger.post('/api/0/relays/register/challenge/', asOurs)).status).toBe(401);
    const { challenge } = await ours.register();
    const { token } = challenge.json;
    const answer = (relay: SentryRelay, relayId: string, given: unknown) =>
      relay.post('/api/0/relays/register/response/', { relay_id: relayId, token: given, version: '26.1.0' });
    expect((await answer(theirs, theirs.id, token)).status).toBe(401);
    expect((await answer(theirs, ours.id, token)).status).toBe(401);
    expect((await answer(ours, ours.id, `${token}x`)).status).toBe(401);
    expect((await answer(ours, ours.id, undefined)).status).toBe(401);
    expect((await answer(ours, ours.id, token)).status).toBe(200);
  });

  test('live', async () => {
    const { service } = await startUpstream();
    const response = await fetch(`${service.url}/api/0/relays/live/`);
    expect([response.status, await response.json()]).toEqual([200, { is_healthy: true }]);
  });
});

function quota(
  id: string,
  categories: readonly string[],
  scope: string,
  scopeId: bigint | number,
  limit: number | null,
  window: number | null,
  reasonCode: string | null,
) {
  return { id, categories, scope, scopeId: String(scopeId), limit, window, reasonCode };
}
