import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ConfigError, Env } from '#lib/server/env.ts';
import { ensureEnvoy, envoyVersion } from '../scripts/lib/envoy.mjs';
import { runCommand } from '../scripts/lib/run-command.mjs';
import { envoyConfig } from './config.ts';
import { composeEdge, localEdge } from './variants.ts';

const local = (settings: Record<string, string> = {}) => localEdge(new Env(settings), '/tmp/tideway-admin.sock');
const compose = (settings: Record<string, string> = {}) => composeEdge(new Env(settings));

describe('real Envoy', () => {
  let envoy = '';
  let folder = '';

  beforeAll(async () => {
    envoy = await ensureEnvoy();
    folder = mkdtempSync(join(tmpdir(), 'tideway-edge-'));
  }, 300_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('is the version that containers run', async () => {
    expect((await runCommand(envoy, ['--version'])).output).toContain(`/${envoyVersion}/`);
  });

  test.each([
    ['on a developer’s machine', local()],
    ['on a machine in production', local({ NODE_ENV: 'production', EDGE_HOST: '0.0.0.0' })],
    ['with every setting', local({ EDGE_RATE_PER_SEC: '100', EDGE_TRUSTED_HOPS: '1', EDGE_ACCESS_LOG: '1' })],
    ['that spreads every channel', local({ EDGE_STREAM_AFFINITY: 'none' })],
    ['in front of containers', compose()],
    ['in front of containers in production', compose({ NODE_ENV: 'production', EDGE_RATE_PER_SEC: '1000' })],
  ])('takes the configuration %s, without a warning', async (name, options) => {
    const file = join(folder, `${name}.json`);
    writeFileSync(file, JSON.stringify(envoyConfig(options)));
    const { code, output } = await runCommand(envoy, ['--mode', 'validate', '-c', file, '--log-level', 'warn']);
    expect(output.trim()).toBe(`configuration '${file}' OK`);
    expect(code).toBe(0);
  });
});

describe('production', () => {
  const config = (options: ReturnType<typeof local>) => JSON.stringify(envoyConfig(options));

  test('tells nobody what can be called, and has no page', () => {
    expect(config(local())).toContain('grpc.reflection.v1');
    expect(config(local({ NODE_ENV: 'production' }))).not.toContain('grpc.reflection.v1');
    expect(config(local())).toContain('"cluster":"web"');
    expect(config(local({ NODE_ENV: 'production' }))).not.toContain('"cluster":"web"');
  });

  test('logs, and development does not', () => {
    expect(config(local())).not.toContain('"access_log"');
    expect(config(local({ NODE_ENV: 'production' }))).toContain('"access_log"');
  });
});

test('the admin interface is for this machine alone', () => {
  expect(envoyConfig(local()).admin).toMatchObject({ address: { pipe: { mode: 0o600 } } });
  expect(envoyConfig(compose()).admin).toMatchObject({ address: { socket_address: { address: '127.0.0.1' } } });
});

test('a developer’s edge is for this machine alone, unless it is said otherwise', () => {
  expect(local().listen).toEqual({ host: '127.0.0.1', port: 8080 });
  expect(local({ EDGE_HOST: '0.0.0.0', EDGE_PORT: '80' }).listen).toEqual({ host: '0.0.0.0', port: 80 });
});

test.each([
  ['EDGE_PORT', 'http'],
  ['EDGE_RATE_PER_SEC', '-1'],
  ['EDGE_ACCESS_LOG', 'yes'],
  ['EDGE_MAX_CONNECTIONS', '0'],
  ['EDGE_MAX_HEAP_MB', '63'],
  ['EDGE_TRUSTED_HOPS', '11'],
  ['EDGE_STREAM_AFFINITY', 'round_robin'],
])('a wrong %s is refused by its name', (name, value) => {
  const refused = () => local({ [name]: value });
  expect(refused).toThrow(ConfigError);
  expect(refused).toThrow(name);
});
