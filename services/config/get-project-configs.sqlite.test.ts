import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { describe, expect, test } from 'vitest';
import { RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import { ConfigService, type KeyAnswer, ScopedQuota_Scope } from '#gen/tideway/config/v1/config_service_pb.ts';
import { FilterSettingsSchema, QuotaSchema, RateLimitSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import { openStoreUnderTest, PATIENCE_MS, type StoreUnderTest } from '#lib/config-cache/config-testing.ts';
import { until } from '../../test/support/until.ts';
import { asRelay, EXTERNAL_TOKEN, type ServiceUnderTest, startConfigService } from './config-testing.ts';

const UNKNOWN = 'f'.repeat(32);

interface Asked {
  readonly publicKey: string;
  readonly revision?: bigint;
}

/** Until nothing is pending. */
async function ask(service: ServiceUnderTest, keys: readonly Asked[], seen = ''): Promise<KeyAnswer[]> {
  let answers: KeyAnswer[] = [];
  await until('nothing is pending', async () => {
    answers = (await service.client.getProjectConfigs({ keys: [...keys], seen }, asRelay())).answers;
    return answers.every(({ answer }) => answer.case !== 'pending');
  });
  return answers;
}

async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error('it was not refused');
}

async function projectWithAll(under: StoreUnderTest) {
  const { project, publicKey } = await under.addProject('web');
  const { store, organization } = under;
  await store.projects.update('system', organization.id, project.id, {
    filters: create(FilterSettingsSchema, { localhost: true, errorMessages: ['*timeout*'] }),
    quotas: [create(QuotaSchema, { id: 'p', categories: ['error'], limit: 5n, windowSec: 60 })],
    allowedDomains: ['example.org'],
    retentionDays: 30,
  });
  await store.organizations.update('system', organization.id, {
    quotas: [create(QuotaSchema, { id: 'o', categories: ['transaction'] })],
  });
  const key = await store.keys.update('system', project.id, publicKey, {
    rateLimit: create(RateLimitSchema, { count: 100n, windowSec: 10 }),
  });
  return { project, publicKey, key };
}

describe('answers', () => {
  test('each key in order: config, unchanged, disabled, unknown, malformed', async () => {
    const under = await openStoreUnderTest();
    const service = await startConfigService(under);
    const web = await under.addProject('web');
    const known = await under.addProject('known');
    const off = await under.addProject('off');
    await under.store.projects.update('system', under.organization.id, off.project.id, { state: 'disabled' });
    const answers = await ask(service, [
      { publicKey: UNKNOWN },
      { publicKey: known.publicKey, revision: known.project.revision },
      { publicKey: web.publicKey, revision: 1n },
      { publicKey: 'no key' },
      { publicKey: off.publicKey },
      { publicKey: web.publicKey.toUpperCase() },
    ]);
    expect(answers.map(({ publicKey, answer }) => [publicKey, answer.case])).toEqual([
      [UNKNOWN, 'disabled'],
      [known.publicKey, 'unchanged'],
      [web.publicKey, 'config'],
      ['no key', 'disabled'],
      [off.publicKey, 'disabled'],
      [web.publicKey.toUpperCase(), 'config'],
    ]);
  });

  test('a config says all, in every protocol the same; without quotas to relays that are not ours', async () => {
    const under = await openStoreUnderTest();
    const service = await startConfigService(under);
    const { project, publicKey, key } = await projectWithAll(under);
    const [first] = await ask(service, [{ publicKey }]);
    const { url: baseUrl } = service;
    const transports = [
      createGrpcTransport({ baseUrl }),
      createGrpcTransport({ baseUrl, useBinaryFormat: false }),
      createGrpcWebTransport({ baseUrl, httpVersion: '1.1' }),
      createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat: true }),
      createConnectTransport({ baseUrl, httpVersion: '2', useBinaryFormat: false }),
    ];
    for (const transport of transports) {
      const client = createClient(ConfigService, transport);
      const request = { keys: [{ publicKey }, { publicKey: UNKNOWN }] };
      const ours = await client.getProjectConfigs(request, asRelay());
      expect(ours.answers.map(({ answer }) => answer.case)).toEqual(['config', 'disabled']);
      expect(ours.answers[0]).toEqual(first);
      const [theirs] = (await client.getProjectConfigs(request, asRelay(EXTERNAL_TOKEN))).answers;
      if (theirs?.answer.case !== 'config' || first?.answer.case !== 'config') throw new Error('no config');
      expect(theirs.answer.value).toEqual({ ...first.answer.value, quotas: [] });
    }
    expect(first?.answer.value).toMatchObject({
      projectId: project.id,
      keyId: key.id,
      allowedDomains: ['example.org'],
      filters: { localhost: true, errorMessages: ['*timeout*'] },
      scrubbing: { scrubData: true, scrubDefaults: true },
      retentionDays: 30,
      quotas: [
        { scope: ScopedQuota_Scope.ORGANIZATION, scopeId: under.organization.id, quota: { id: 'o' } },
        { scope: ScopedQuota_Scope.PROJECT, scopeId: project.id, quota: { id: 'p', limit: 5n } },
        { scope: ScopedQuota_Scope.KEY, scopeId: key.id, quota: { id: 'key', limit: 100n, windowSec: 10 } },
      ],
    });
  });

  test('a key that takes long is pending', async () => {
    const under = await openStoreUnderTest();
    const service = await startConfigService(under);
    const { publicKey } = await under.addProject('web');
    const { promise, resolve } = Promise.withResolvers<void>();
    under.held = promise;
    const { answers } = await service.client.getProjectConfigs({ keys: [{ publicKey }] }, asRelay());
    expect(answers[0]?.answer.case).toBe('pending');
    resolve();
    expect((await ask(service, [{ publicKey }]))[0]?.answer.case).toBe('config');
    expect(under.queries.keys).toEqual([publicKey]);
  });

  test('what would make a response too large is asked for again', async () => {
    const under = await openStoreUnderTest();
    const service = await startConfigService(under);
    const large = create(FilterSettingsSchema, { errorMessages: Array.from({ length: 200 }, () => 'x'.repeat(2_500)) });
    const keys: Asked[] = [];
    for (let n = 0; n < 9; n += 1) {
      const { project, publicKey } = await under.addProject(`p${n}`);
      await under.store.projects.update('system', under.organization.id, project.id, { filters: large });
      keys.push({ publicKey });
    }
    await service.cache.lookup(
      keys.map(({ publicKey }) => publicKey),
      PATIENCE_MS,
    );
    const { answers } = await service.client.getProjectConfigs({ keys }, asRelay());
    const count = (kind: string) => answers.filter(({ answer }) => answer.case === kind).length;
    expect([count('config'), count('pending')]).toEqual([6, 3]);
  });
});

describe('refusals', () => {
  test('without a token, with a wrong one, with too many keys', async () => {
    const under = await openStoreUnderTest();
    const { client } = await startConfigService(under);
    const keys = [{ publicKey: UNKNOWN }];
    expect((await refusal(client.getProjectConfigs({ keys }))).code).toBe(Code.Unauthenticated);
    expect((await refusal(client.getProjectConfigs({ keys }, asRelay('wrong')))).code).toBe(Code.Unauthenticated);
    const many = Array.from({ length: 501 }, () => ({ publicKey: UNKNOWN }));
    expect((await refusal(client.getProjectConfigs({ keys: many }, asRelay()))).code).toBe(Code.InvalidArgument);
    expect((await refusal(client.getProjectConfigs({ keys: [] }, asRelay()))).code).toBe(Code.InvalidArgument);
  });

  test('the store away: cached keys are answered, others say so, and a request of only those is refused', async () => {
    const under = await openStoreUnderTest();
    const service = await startConfigService(under);
    const { publicKey } = await under.addProject('web');
    await ask(service, [{ publicKey }]);
    under.isAway = true;
    const answers = await ask(service, [{ publicKey }, { publicKey: UNKNOWN }], 'a cursor of another process');
    expect(answers.map(({ answer }) => answer.case)).toEqual(['config', 'unavailable']);
    const error = await refusal(service.client.getProjectConfigs({ keys: [{ publicKey: UNKNOWN }] }, asRelay()));
    expect(error.code).toBe(Code.Unavailable);
    expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
    under.isAway = false;
    await until('it recovers', () => service.cache.catchUp(PATIENCE_MS));
    expect((await ask(service, [{ publicKey: UNKNOWN }]))[0]?.answer.case).toBe('disabled');
  });
});
