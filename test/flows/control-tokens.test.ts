import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeConduitEnv } from '../support/conduit-env.ts';
import { type Edge, startEdge } from '../support/edge.ts';
import { freePort } from '../support/free-port.ts';
import { JsonApi } from '../support/json-api.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { type ServiceProcess, startService } from '../support/tideway.ts';
import { until } from '../support/until.ts';

// Control and stream as processes of their own, in production: who may start streams, for how long, and what happens
// while control is away.
const OPERATOR_TOKEN = 'operator-token-of-this-test-which-is-long-enough';
const START_TOKEN = 'what an application starts streams with in this test';
/** What the contract promises of a revoked token, 5 s, and what a busy machine adds. */
const REVOCATION_MS = 10_000;

let dataDir: string;
let redis: RedisServer;
let control: ServiceProcess;
let stream: ServiceProcess;
let edge: Edge;
let operator: JsonApi;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'tideway-'));
  redis = await startRedis();
  control = await startControl(await freePort());
  const { env, privateKeyPem } = makeConduitEnv();
  stream = await startService('stream', {
    NODE_ENV: 'production',
    ...env,
    GATEWAY_JWT_PRIVATE_KEY: privateKeyPem,
    TIDEWAY_API_TOKEN: START_TOKEN,
    REDIS_URL: redis.url,
    CONTROL_URL: `http://127.0.0.1:${control.port}`,
  });
  edge = await startEdge({ publish: [], stream: [stream.port], control: [control.port] }, { reflection: false });
  operator = new JsonApi(edge.url, OPERATOR_TOKEN);
});
afterAll(async () => {
  await edge?.stop();
  for (const service of [stream, control]) {
    service?.kill('SIGKILL');
    await service?.exited;
  }
  await redis?.stop();
  await rm(dataDir, { recursive: true, force: true });
});

function startControl(port: number): Promise<ServiceProcess> {
  return startService('control', {
    NODE_ENV: 'production',
    CONTROL_PORT: String(port),
    TIDEWAY_DATA_DIR: dataDir,
    TIDEWAY_OPERATOR_TOKEN: OPERATOR_TOKEN,
  });
}

const start = (organization: string, token?: string) =>
  new JsonApi(edge.url, token).call('POST', `/v1/organizations/${organization}/streams`, {});

async function newOrganization(): Promise<{ id: string; path: string }> {
  const { id } = await operator.fetch('POST', '/v1/organizations', { name: 'Acme' });
  return { id, path: `/v1/organizations/${id}` };
}

async function newToken(path: string, ...scopes: string[]): Promise<{ id: string; token: string }> {
  return operator.fetch('POST', `${path}/tokens`, { name: 'app', scopes });
}

test('production begins with nothing: the operator makes the first organization', async () => {
  expect((await operator.fetch('GET', '/v1/organizations')).organizations).toEqual([]);
  const { id } = await newOrganization();
  expect(id).toBe('1');
});

test('a token with the scope starts streams of its organization, and of no other', async () => {
  const { id, path } = await newOrganization();
  const { token } = await newToken(path, 'streams:start');
  const { status, json } = await start(id, token);
  expect([status, json.conduit.channel_id]).toEqual([200, expect.any(String)]);
  const other = await newOrganization();
  const foreign = await start(other.id, token);
  const none = await start('999', token);
  expect([foreign.status, foreign.json.code]).toEqual([404, 5]);
  expect(foreign.text).toBe(none.text);
});

test('nobody else does', async () => {
  const { id, path } = await newOrganization();
  const { token } = await newToken(path, 'projects:write');
  const answers = [await start(id, token), await start(id, 'twa_guess'), await start(id)];
  expect(answers.map(({ status, json }) => [status, json.code])).toEqual([
    [403, 7],
    [401, 16],
    [401, 16],
  ]);
});

test('the token of the settings starts streams, and manages nothing', async () => {
  expect((await start('7', START_TOKEN)).status).toBe(200);
  expect((await new JsonApi(edge.url, START_TOKEN).get('/v1/organizations')).status).toBe(401);
});

test('a revoked token is refused everywhere', async () => {
  const { id, path } = await newOrganization();
  const token = await newToken(path, 'streams:start', 'projects:read');
  const api = new JsonApi(edge.url, token.token);
  expect((await api.get(`${path}/projects`)).status).toBe(200);
  expect((await start(id, token.token)).status).toBe(200);
  const revoked = await operator.fetch('POST', `${path}/tokens/${token.id}:revoke`);
  expect(revoked).toMatchObject({ id: token.id, state: 'STATE_DISABLED' });
  await until('control refuses it', async () => (await api.get(`${path}/projects`)).status === 401, REVOCATION_MS);
  await until('stream refuses it', async () => (await start(id, token.token)).status === 401, REVOCATION_MS);
});

test('the tokens of a disabled organization are refused, until it is enabled', async () => {
  const { path } = await newOrganization();
  const api = new JsonApi(edge.url, (await newToken(path, 'projects:read')).token);
  expect((await api.get(`${path}/projects`)).status).toBe(200);
  await operator.fetch('PATCH', path, { state: 'STATE_DISABLED' });
  await until('it is refused', async () => (await api.get(`${path}/projects`)).status === 401);
  await operator.fetch('PATCH', path, { state: 'STATE_ACTIVE' });
  await until('it is taken', async () => (await api.get(`${path}/projects`)).status === 200);
});

test('a token gives no scope that it does not have, and one that has ended is none', async () => {
  const { path } = await newOrganization();
  const api = new JsonApi(edge.url, (await newToken(path, 'organization:write', 'projects:read')).token);
  expect((await api.call('POST', `${path}/tokens`, { name: 'x', scopes: ['projects:read'] })).status).toBe(200);
  expect((await api.call('POST', `${path}/tokens`, { name: 'x', scopes: ['projects:write'] })).status).toBe(403);
  const past = { name: 'x', scopes: ['projects:read'], expire_time: '2020-01-01T00:00:00Z' };
  const { status, json } = await api.call('POST', `${path}/tokens`, past);
  expect([status, json.message]).toEqual([400, 'create.expire_time: must be in the future']);
});

test('while control is away streams say so to who has an API token, and come back by themselves', async () => {
  const { id, path } = await newOrganization();
  const { token } = await newToken(path, 'streams:start');
  expect((await start(id, token)).status).toBe(200);
  control.kill('SIGKILL');
  await control.exited;
  await until('it is said', async () => (await start(id, token)).status === 503);
  const away = await start(id, token);
  expect(away.json).toMatchObject({ code: 14, message: 'API tokens can not be checked' });
  expect(away.header('retry-after')).toEqual(['1']);
  expect((await start(id, START_TOKEN)).status).toBe(200);
  control = await startControl(control.port);
  await until('it is taken', async () => (await start(id, token)).status === 200);
});
