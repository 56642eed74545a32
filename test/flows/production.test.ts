import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from '#gen/grpc/health/v1/health_pb.ts';
import { ServerReflection } from '#gen/grpc/reflection/v1/reflection_pb.ts';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type ConduitEnv, makeConduitEnv } from '../support/conduit-env.ts';
import { type Edge, startEdge } from '../support/edge.ts';
import { listen } from '../support/events.ts';
import { freePort } from '../support/free-port.ts';
import { programEnv } from '../support/program-env.ts';
import { ask } from '../support/raw-request.ts';
import { eventsUrl, published, startStory, startStream } from '../support/story.ts';
import { type ServiceProcess, startMonolith, startService } from '../support/tideway.ts';

// In production nothing is made up: every key is set by the operator, and what helps a developer is not there.
const API_TOKEN = 'an API token that an operator chose';
let conduit: ConduitEnv;
let dataDir: string;
let service: ServiceProcess;
let edge: Edge;

beforeAll(async () => {
  conduit = makeConduitEnv();
  dataDir = await mkdtemp(join(tmpdir(), 'tideway-'));
  service = await startService('monolith', productionEnv());
  edge = await startEdge({ publish: [service.port], stream: [service.port] }, { reflection: false });
});
afterAll(async () => {
  await edge?.stop();
  service?.kill('SIGKILL');
  await service?.exited;
  await rm(dataDir, { recursive: true, force: true });
});

function productionEnv(changes: Readonly<Record<string, string | undefined>> = {}): Record<string, string> {
  const env = {
    NODE_ENV: 'production',
    ...conduit.env,
    GATEWAY_JWT_PRIVATE_KEY: conduit.privateKeyPem,
    TIDEWAY_API_TOKEN: API_TOKEN,
    TIDEWAY_DATA_DIR: dataDir,
    ...changes,
  };
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

async function start(url: string, token?: string) {
  const { status, text } = await ask(`${url}/v1/organizations/1/streams`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    },
    body: '{}',
  });
  return { status, json: JSON.parse(text) };
}

describe('production', () => {
  test('a stream is started by the holder of the API token, published and heard', async () => {
    const access = await startStream(edge.url, {}, API_TOKEN);
    const heard = await listen(eventsUrl(access));
    const id = await published(edge.url, await conduit.publishToken(), {
      channelId: access.channel_id,
      phase: Phase.END,
    });
    const events = await heard.ended();
    expect(events.map((event) => event.id)).toEqual([undefined, id]);
  });

  test('nobody else starts a stream', async () => {
    const nobody = await start(edge.url);
    expect([nobody.status, nobody.json.code, nobody.json.message]).toEqual([401, 16, 'Missing authorization header']);
    const stranger = await start(edge.url, 'a guess');
    expect([stranger.status, stranger.json.code, stranger.json.message]).toEqual([401, 16, 'Invalid API token']);
    const publisher = await start(edge.url, await conduit.publishToken());
    expect(publisher.status).toBe(401);
  });

  test('there is no page, and no token on it', async () => {
    for (const base of [edge.url, `http://127.0.0.1:${service.port}`]) {
      for (const path of ['/', '/console/main.js', '/console/dev.json']) {
        expect([base, path, (await ask(`${base}${path}`)).status]).toEqual([base, path, 404]);
      }
    }
  });

  test('there is health, and no reflection', async () => {
    for (const baseUrl of [edge.url, `http://127.0.0.1:${service.port}`]) {
      const transport = createGrpcTransport({ baseUrl });
      const { status } = await createClient(Health, transport).check({});
      expect(status).toBe(ServingStatus.SERVING);
      const reflection = createClient(ServerReflection, transport).serverReflectionInfo(
        (async function* () {
          yield { messageRequest: { case: 'listServices' as const, value: '' } };
        })(),
      );
      await expect(reflection[Symbol.asyncIterator]().next()).rejects.toThrow(/unimplemented|404/i);
    }
  });
});

describe('what is not set', () => {
  test('a signing key: StartStream says so, and all else works', async () => {
    const story = await startStory({ ...conduit.env });
    try {
      const { status, json } = await start(story.url);
      expect([status, json.code]).toEqual([400, 9]);
      expect(json.message).toBe('StartStream has no key to sign with: set GATEWAY_JWT_PRIVATE_KEY');
      expect(json.details).toMatchObject([{ reason: 'NO_SIGNING_KEY' }]);
      const channelId = crypto.randomUUID();
      await published(story.url, await conduit.publishToken(), { channelId, phase: Phase.END });
      const token = await conduit.streamToken({ org_id: 1, channel_id: channelId });
      const heard = await listen(`${story.url}/events/1?token=${token}&channel_id=${channelId}`);
      await heard.ended();
    } finally {
      await story.stop();
    }
  });

  test('the API token: it starts no stream', async () => {
    const closed = await startService('monolith', productionEnv({ TIDEWAY_API_TOKEN: undefined }));
    try {
      const closedEdge = await startEdge({ publish: [closed.port], stream: [closed.port] });
      const { status, json } = await start(closedEdge.url, API_TOKEN);
      await closedEdge.stop();
      expect([status, json.code, json.message]).toEqual([401, 16, 'Invalid API token']);
    } finally {
      closed.kill('SIGKILL');
      await closed.exited;
    }
  });

  test.for([
    'GATEWAY_JWT_PUBLIC_KEY',
    'GATEWAY_JWT_ISSUER',
    'GATEWAY_JWT_AUDIENCE',
    'PUBLISH_JWT_SECRET',
    'PUBLISH_JWT_ISSUER',
    'PUBLISH_JWT_AUDIENCE',
  ])('%s: one line, and no start', async (name) => {
    const { code, output } = await startAndEnd(
      productionEnv({ [name]: undefined, GATEWAY_JWT_PRIVATE_KEY: undefined }),
    );
    expect([code, output]).toEqual([1, expect.stringMatching(new RegExp(`^tideway: ${name}.* is not set\n$`))]);
  });
});

describe('development keys', () => {
  let dir: string;
  let keys: Record<'privateKeyPem' | 'publicKeyPem' | 'publishSecret' | 'apiToken', string>;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tideway-'));
    const development = await startMonolith({ TIDEWAY_DATA_DIR: dir });
    await development.stop();
    keys = JSON.parse(await readFile(join(dir, 'keys', 'development-keys.json'), 'utf8'));
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test.for([
    ['GATEWAY_JWT_PUBLIC_KEY', 'publicKeyPem'],
    ['GATEWAY_JWT_PRIVATE_KEY', 'privateKeyPem'],
    ['PUBLISH_JWT_SECRET', 'publishSecret'],
    ['TIDEWAY_API_TOKEN', 'apiToken'],
  ] as const)('are refused as %s, with one line', async ([name, key]) => {
    for (const value of [keys[key], ` ${keys[key].replaceAll('\n', '\\n')}`]) {
      const { code, output } = await startAndEnd(productionEnv({ [name]: value, TIDEWAY_DATA_DIR: dir }));
      expect([code, output]).toEqual([1, `tideway: ${name} is a development key, which production refuses\n`]);
    }
  });

  test('are not taken from the folder they are in', async () => {
    const { code, output } = await startAndEnd(productionEnv({ PUBLISH_JWT_SECRET: undefined, TIDEWAY_DATA_DIR: dir }));
    expect([code, output]).toEqual([1, 'tideway: PUBLISH_JWT_SECRET is not set\n']);
  });
});

/** Runs a monolith that should not start, and answers all that it printed. */
async function startAndEnd(env: Record<string, string>): Promise<{ code: unknown; output: string }> {
  const port = String(await freePort());
  return new Promise((resolve) => {
    const options = {
      cwd: new URL('../../', import.meta.url),
      env: { ...programEnv(), PORT: port, TIDEWAY_HOST: '127.0.0.1', ...env },
      timeout: 20_000,
    };
    execFile(process.execPath, ['services/monolith/main.ts'], options, (error, stdout, stderr) => {
      resolve({ code: error?.code ?? 0, output: stdout + stderr });
    });
  });
}
