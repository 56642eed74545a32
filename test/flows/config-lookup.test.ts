import { generateKeyPairSync } from 'node:crypto';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConfigService } from '#gen/tideway/config/v1/config_service_pb.ts';
import { JsonApi } from '../support/json-api.ts';
import { createSentryRelay } from '../support/sentry-relay.ts';
import { type Story, startStory } from '../support/story.ts';
import { until } from '../support/until.ts';

// What relays do, through the edge: a relay of ours by RPC, a Sentry relay by its own protocol.

const TOKEN = 'what the relays of this test ask for configs with';
const keys = generateKeyPairSync('ed25519');
let story: Story;

beforeAll(async () => {
  const publicKey = keys.publicKey.export({ format: 'jwk' }).x ?? '';
  story = await startStory({ RELAY_TOKEN: TOKEN, RELAY_TRUSTED_KEYS: publicKey });
});
afterAll(() => story?.stop());

test('a key is looked up, disabled through the API, and both kinds of relays hear of it', async () => {
  const { dsn = '', operator_token } = story.development;
  const publicKey = new URL(dsn).username;
  const client = createClient(ConfigService, createGrpcTransport({ baseUrl: story.url }));
  const relay = createSentryRelay(story.url, keys);
  const headers = { Authorization: `Bearer ${TOKEN}` };
  const stopped = new AbortController();
  const watch = client.watchProjectConfigs({}, { headers, signal: stopped.signal })[Symbol.asyncIterator]();
  const first = await watch.next();
  expect(first.value).toMatchObject({ publicKeys: [], reset: false });

  const ask = async (seen = '') =>
    (await client.getProjectConfigs({ keys: [{ publicKey }], seen }, { headers })).answers[0]?.answer;
  await until('it is loaded', async () => (await ask())?.case === 'config');
  expect((await relay.register()).response).toMatchObject({ status: 200 });
  const askAsSentry = () =>
    relay.post('/api/0/relays/projectconfigs/?version=3', { publicKeys: [publicKey], fullConfig: true });
  const state = (await askAsSentry()).json.configs[publicKey];
  expect(state).toMatchObject({ slug: story.development.project, config: { eventRetention: 90 } });

  const api = new JsonApi(story.url, operator_token);
  const { organization, project } = story.development;
  const path = `/v1/organizations/${organization}/projects/${project}/keys/${publicKey}`;
  await api.fetch('PATCH', `${path}?update_mask=state`, { state: 'STATE_DISABLED' });
  const change = await watch.next();
  expect(change.value).toMatchObject({ publicKeys: [publicKey], reset: false });
  expect((await ask(change.value?.cursor))?.case).toBe('disabled');
  expect((await askAsSentry()).json.configs).toEqual({ [publicKey]: null });
  stopped.abort();

  expect((await createSentryRelay(story.url).register()).challenge.status).toBe(403);
  const health = await fetch(`${story.url}/api/0/relays/live/`);
  expect(await health.json()).toEqual({ is_healthy: true });
});
