import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { Env } from '#lib/server/env.ts';
import { composeEdge } from '../../envoy/variants.ts';
import { root, withPrograms } from '../../scripts/lib/project.mjs';
import { runCommand } from '../../scripts/lib/run-command.mjs';
import { type Edge, startEdge } from '../support/edge.ts';
import { JsonApi } from '../support/json-api.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { type ServiceName, type ServiceProcess, startService } from '../support/tideway.ts';

// docker-compose.yml without Docker: its services as processes, with the environment that it gives them in production.

interface ComposeService {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string | number>>;
  readonly healthcheck: { readonly test: readonly string[] };
}

const services: Readonly<Record<string, ComposeService>> = parse(
  readFileSync(join(root, 'docker-compose.yml'), 'utf8'),
  { merge: true },
).services;

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const secrets = {
  PUBLISH_JWT_SECRET: 'what a publisher and the service share in this test',
  GATEWAY_JWT_PRIVATE_KEY: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  TIDEWAY_API_TOKEN: 'what an application starts streams with in this test',
  TIDEWAY_OPERATOR_TOKEN: 'what this installation is managed with in this test',
  POSTGRES_PASSWORD: 'what control and PostgreSQL share in this test',
};

/** As compose fills in its variables. */
function resolve(text: string, given: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\{(\w+)(?::([-?])((?:[^{}]|\{[^}]*\})*))?\}/g, (match, name, operator, rest) => {
    if (match === '$$') return '$';
    const value = given[name];
    if (value !== undefined) return value;
    if (operator === '-') return resolve(rest, given);
    throw new Error(`${name} ${rest}`);
  });
}

function service(name: string): ComposeService {
  const found = services[name];
  if (found === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  return found;
}

function environmentOf(name: string, given: Readonly<Record<string, string>>): Record<string, string> {
  const { environment } = service(name);
  return Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, resolve(String(value), given)]));
}

/** What compose runs in a container to see whether it is healthy. */
async function healthcheck(name: string, port: number, env: Readonly<Record<string, string>> = {}) {
  const [kind, program = '', ...args] = service(name).healthcheck.test.map((word) => resolve(word, {}));
  expect(kind).toBe('CMD');
  const here = args.map((arg) => arg.replace('/127.0.0.1/8080', `/127.0.0.1/${port}`));
  return runCommand(program, here, { env: withPrograms({ PATH: process.env['PATH'], ...env }) });
}

const portSettings = {
  control: 'CONTROL_PORT',
  publish: 'PUBLISH_PORT',
  stream: 'GATEWAY_PORT',
  cleanup: 'CLEANUP_PORT',
} as const;
const names = Object.keys(portSettings) as (keyof typeof portSettings & ServiceName)[];
const running: Partial<Record<ServiceName, ServiceProcess>> = {};
let redis: RedisServer;
let postgres: PostgresServer;
let databaseUrl: string;
let edge: Edge;

beforeAll(async () => {
  redis = await startRedis();
  postgres = await startPostgres();
  databaseUrl = await postgres.createDatabase();
  for (const name of names) {
    const { [portSettings[name]]: _, ...env } = environmentOf(name, { ...secrets, REDIS_URL: redis.url });
    running[name] = await startService(name, { ...env, ...elsewhere(env) });
  }
  const {
    listen: _listen,
    admin: _admin,
    upstreams: _upstreams,
    ...settings
  } = composeEdge(new Env(environmentOf('edge-config', {})));
  const upstreams = { publish: [portOf('publish')], stream: [portOf('stream')], control: [portOf('control')] };
  edge = await startEdge(upstreams, settings);
});

afterAll(async () => {
  await edge?.stop();
  for (const process of Object.values(running)) {
    process.kill('SIGKILL');
    await process.exited;
  }
  await postgres?.stop();
  await redis?.stop();
});

/** What has a name among containers, and an address here. */
function elsewhere(env: Readonly<Record<string, string>>): Record<string, string> {
  return {
    ...(env['DATABASE_URL'] === undefined ? {} : { DATABASE_URL: databaseUrl }),
    ...(env['CONTROL_URL'] === undefined ? {} : { CONTROL_URL: `http://127.0.0.1:${portOf('control')}` }),
  };
}

function portOf(name: ServiceName): number {
  const process = running[name];
  if (process === undefined) throw new Error(`${name} is not running`);
  return process.port;
}

test('no service starts without its secrets', () => {
  expect(() => environmentOf('publish', {})).toThrow('PUBLISH_JWT_SECRET');
  expect(() => environmentOf('stream', {})).toThrow('GATEWAY_JWT_PRIVATE_KEY');
  expect(() => environmentOf('control', { POSTGRES_PASSWORD: 'x' })).toThrow('TIDEWAY_OPERATOR_TOKEN');
  expect(() => environmentOf('control', { TIDEWAY_OPERATOR_TOKEN: 'x' })).toThrow('POSTGRES_PASSWORD');
});

test.each(names)('%s is healthy by its own check, and not where nothing answers', async (name) => {
  expect(await healthcheck(name, 0, { [portSettings[name]]: `${portOf(name)}` })).toMatchObject({ code: 0 });
  expect(await healthcheck(name, 0, { [portSettings[name]]: '1' })).toMatchObject({ code: 1 });
});

test('the edge is healthy by its own check, and not where nothing answers', async () => {
  expect(await healthcheck('edge', edge.port)).toMatchObject({ code: 0 });
  expect((await healthcheck('edge', 1)).code).not.toBe(0);
});

test('a stream goes through, with tokens of this deployment', async () => {
  const json = { 'content-type': 'application/json' };
  const started = await fetch(`${edge.url}/v1/organizations/7/streams`, {
    method: 'POST',
    headers: { ...json, authorization: `Bearer ${secrets.TIDEWAY_API_TOKEN}` },
    body: '{}',
  });
  const { conduit } = (await started.json()) as { conduit: { token: string; channel_id: string; url: string } };
  expect(conduit.url).toBe('http://localhost:8080/events/7');

  const publishToken = await new SignJWT({ sub: 'backend' })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuer('tideway')
    .setAudience('tideway')
    .setExpirationTime('5m')
    .sign(Buffer.from(secrets.PUBLISH_JWT_SECRET));
  const published = await fetch(`${edge.url}/v1/messages:publish`, {
    method: 'POST',
    headers: { ...json, authorization: `Bearer ${publishToken}` },
    body: JSON.stringify({ org_id: '7', channel_id: conduit.channel_id, message_id: randomUUID(), phase: 'PHASE_END' }),
  });
  const { id } = (await published.json()) as { id: string };

  const query = new URLSearchParams({ token: conduit.token, channel_id: conduit.channel_id });
  const events = await fetch(`${edge.url}/events/7?${query}`);
  expect(await events.text()).toContain(`id: ${id}\n`);
});

test('the operator makes an organization, and its token starts streams of it', async () => {
  const operator = new JsonApi(edge.url, secrets.TIDEWAY_OPERATOR_TOKEN);
  const { id } = await operator.fetch('POST', '/v1/organizations', { name: 'Acme' });
  const app = { name: 'app', scopes: ['streams:start'] };
  const { token } = await operator.fetch('POST', `/v1/organizations/${id}/tokens`, app);
  const started = await new JsonApi(edge.url, token).call('POST', `/v1/organizations/${id}/streams`, {});
  expect(started.status).toBe(200);
  const project = await operator.fetch('POST', `/v1/organizations/${id}/projects`, { name: 'Shop' });
  const { keys } = await operator.fetch('GET', `/v1/organizations/${id}/projects/shop/keys`);
  expect(keys[0].dsn).toBe(`http://${keys[0].public_key}@localhost:8080/${project.id}`);
});

test('nobody starts a stream without the API token, and nobody learns what can be called', async () => {
  const started = await fetch(`${edge.url}/v1/organizations/7/streams`, { method: 'POST' });
  expect(started.status).toBe(401);
  const reflection = await fetch(`${edge.url}/grpc.reflection.v1.ServerReflection/ServerReflectionInfo`, {
    method: 'POST',
  });
  expect(reflection.status).toBe(404);
  expect((await fetch(`${edge.url}/`)).status).toBe(404);
});

test('no token is in the access log', async () => {
  const token = `a-secret-${randomUUID()}`;
  const bearer = { authorization: `Bearer ${token}` };
  await fetch(`${edge.url}/events/7?token=${token}&channel_id=${randomUUID()}`);
  await fetch(`${edge.url}/publish/7/${randomUUID()}?token=${token}`, { method: 'POST', headers: bearer, body: '' });
  await fetch(`${edge.url}/v1/messages:publish?token=${token}`, {
    method: 'POST',
    headers: bearer,
    body: `{"${token}`,
  });
  await fetch(`${edge.url}/v1/organizations/7/streams`, { method: 'POST', headers: { cookie: token, referer: token } });
  await edge.stop();
  expect(edge.output()).toContain('"path":"/v1/messages:publish"');
  expect(edge.output()).not.toContain(token);
});
