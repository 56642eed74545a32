import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JsonApi } from '../support/json-api.ts';
import { startMonolith } from '../support/tideway.ts';

// What a developer's first start makes, and what the later ones find.
let dir: string;
let first: Awaited<ReturnType<typeof startOnce>>;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tideway-'));
  first = await startOnce();
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** Starts, does something, is killed; answers what dev.json said. */
async function startOnce(act: (url: string) => Promise<unknown> = async () => {}) {
  const monolith = await startMonolith({ TIDEWAY_DATA_DIR: dir, TIDEWAY_PUBLIC_URL: 'https://edge.example/' });
  try {
    await act(`http://127.0.0.1:${monolith.port}`);
    return monolith.development;
  } finally {
    await monolith.stop();
  }
}

/** Straight to the process: the typed call as JSON. */
function call(url: string, method: string, token: string, body: object) {
  return new JsonApi(url, token).call('POST', `/tideway.control.v1.ControlService/${method}`, body);
}

test('an organization, a project with a DSN, and tokens', () => {
  expect(first).toEqual({
    edge_url: 'https://edge.example',
    org_id: 1,
    organization: 'development',
    project: 'default',
    dsn: expect.stringMatching(/^https:\/\/[0-9a-f]{32}@edge\.example\/1$/),
    publish_token: expect.any(String),
    api_token: expect.stringMatching(/^twa_/),
    operator_token: expect.stringMatching(/^tideway-development-/),
  });
});

test('what is secret is this user’s alone', async () => {
  for (const file of ['dev.json', 'keys/development-api-token']) {
    expect((await stat(join(dir, file))).mode & 0o777).toBe(0o600);
  }
  const kept = await readFile(join(dir, 'keys/development-api-token'), 'utf8');
  expect(kept.trim()).toBe(first.api_token);
});

test('a later start finds the same, and nothing twice', async () => {
  const again = await startOnce(async (url) => {
    const { json } = await call(url, 'ListApiTokens', first.api_token, { organization: '1' });
    expect(json.tokens).toHaveLength(1);
  });
  const { publish_token: _old, ...kept } = first;
  const { publish_token: _new, ...found } = again;
  expect(found).toEqual(kept);
});

test('a token that was lost or revoked is made anew', async () => {
  await rm(join(dir, 'keys/development-api-token'));
  const second = await startOnce(async (url) => {
    const { api_token: token } = JSON.parse(await readFile(join(dir, 'dev.json'), 'utf8'));
    const { json } = await call(url, 'ListApiTokens', token, { organization: '1' });
    expect(json.tokens).toHaveLength(2);
    const revoke = { organization: '1', token: json.tokens[1].id };
    expect((await call(url, 'RevokeApiToken', token, revoke)).status).toBe(200);
  });
  expect(second.api_token).not.toBe(first.api_token);
  const third = await startOnce();
  expect(third.api_token).not.toBe(second.api_token);
});

test('a disabled key is no DSN, and a disabled organization has no token', async () => {
  await startOnce(async (url) => {
    const operator = first.operator_token;
    const { json } = await call(url, 'ListProjectKeys', operator, { organization: '1', project: '1' });
    for (const { publicKey: key } of json.keys) {
      const update = { organization: '1', project: '1', key, update: { state: 'STATE_DISABLED' } };
      expect((await call(url, 'UpdateProjectKey', operator, update)).status).toBe(200);
    }
    const disable = { organization: '1', update: { state: 'STATE_DISABLED' } };
    expect((await call(url, 'UpdateOrganization', operator, disable)).status).toBe(200);
  });
  const later = await startOnce();
  expect(later).not.toHaveProperty('dsn');
  expect(later).not.toHaveProperty('api_token');
});
