import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { Env } from '#lib/server/env.ts';
import { envoyConfig } from '../../envoy/config.ts';
import { composeEdge } from '../../envoy/variants.ts';
import { ensureEnvoy } from '../../scripts/lib/envoy.mjs';
import { root } from '../../scripts/lib/project.mjs';
import { listen } from '../support/events.ts';
import { freePort, listens } from '../support/free-port.ts';
import { childrenOf } from '../support/processes.ts';
import { eventsUrl, message, startStream } from '../support/story.ts';
import { type ServiceProcess, startMonolith } from '../support/tideway.ts';
import { until } from '../support/until.ts';
import { watch } from '../support/watchdog.ts';

// The edge's program of docker-compose.yml, which SIGTERM reaches there.

/** The smallest in which the edge outlives the process behind it. */
const DRAIN_TIMEOUT_SEC = '6';
let monolith: Awaited<ReturnType<typeof startMonolith>>;
let edge: Awaited<ReturnType<typeof startContainer>>;

beforeEach(() => start(DRAIN_TIMEOUT_SEC));
afterEach(stop);

async function start(drainTimeoutSec: string): Promise<void> {
  monolith = await startMonolith({ DRAIN_TIMEOUT_SEC: drainTimeoutSec });
  edge = await startContainer(monolith, drainTimeoutSec);
}

async function stop(): Promise<void> {
  await edge?.stop();
  await monolith?.stop();
}

async function startContainer(behind: ServiceProcess, drainTimeoutSec: string) {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-edge-'));
  const [port, adminPort, envoy] = [await freePort(), await freePort(), await ensureEnvoy()];
  const { upstreams, ...edge } = composeEdge(new Env({}));
  const config = envoyConfig({
    ...edge,
    listen: { host: '127.0.0.1', port },
    admin: { loopbackPort: adminPort },
    upstreams: {
      ...upstreams,
      ...Object.fromEntries(Object.keys(upstreams).map((name) => [name, [{ host: '127.0.0.1', port: behind.port }]])),
    },
  });
  const file = join(folder, 'envoy.json');
  await writeFile(file, JSON.stringify(config));
  // A group of its own, for the case that it does not end its Envoy.
  const child = spawn('bash', ['envoy/edge.sh', file, `${adminPort}`], {
    cwd: root,
    env: { PATH: `${dirname(envoy)}${delimiter}${process.env['PATH']}`, DRAIN_TIMEOUT_SEC: drainTimeoutSec },
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  });
  const ended = once(child, 'exit').then(([code, signal]) => signal ?? code);
  const url = `http://127.0.0.1:${port}`;
  await until('the edge is up', async () => (await fetch(`${url}/healthz`)).ok, 60_000);
  // Without its Envoy it ends by itself.
  const [{ pid } = { pid: 0 }] = childrenOf(child.pid);
  watch({ pid, once: (event, over) => child.once(event, over) }, folder);
  return {
    url,
    port,
    /** How many requests are under way. */
    async active() {
      const text = await (
        await fetch(`http://127.0.0.1:${adminPort}/stats?filter=^http.edge.downstream_rq_active$`)
      ).text();
      return Number(/: (\d+)/.exec(text)?.[1]);
    },
    ended,
    term: () => void child.kill('SIGTERM'),
    pause: () => void process.kill(pid, 'SIGSTOP'),
    resume: () => void process.kill(pid, 'SIGCONT'),
    async stop() {
      try {
        process.kill(-(child.pid ?? Number.NaN), 'SIGKILL');
      } catch {
        // Nothing of it is left.
      }
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

test('when everything stops at once, listeners are sent away and not cut', async () => {
  const access = { ...(await startStream(edge.url)), url: `${edge.url}/events/1` };
  const heard = await Promise.all(Array.from({ length: 50 }, () => listen(eventsUrl(access))));
  edge.term();
  monolith.kill('SIGTERM');
  expect([await edge.ended, await monolith.exited]).toEqual([0, 0]);
  await until('all have ended', () => heard.every((each) => each.end() !== 'open'));
  // The first `retry:` is every stream's.
  expect(heard.map((each) => [each.end(), each.events().length])).toEqual(heard.map(() => ['whole', 2]));
});

test('an Envoy that says nothing for a while is not taken for one with nothing under way', async () => {
  await stop();
  await start('24');
  const access = { ...(await startStream(edge.url)), url: `${edge.url}/events/1` };
  const heard = await Promise.all(Array.from({ length: 20 }, () => listen(eventsUrl(access))));
  edge.pause();
  edge.term();
  // Longer than it is asked twice.
  await delay(5_000);
  edge.resume();
  monolith.kill('SIGTERM');
  expect([await edge.ended, await monolith.exited]).toEqual([0, 0]);
  await until('all have ended', () => heard.every((each) => each.end() !== 'open'));
  expect(heard.map((each) => each.end())).toEqual(heard.map(() => 'whole'));
}, 60_000);

test('alone, it answers what is under way, lets nothing in, and does not wait for listeners that nobody ends', async () => {
  const access = { ...(await startStream(edge.url)), url: `${edge.url}/events/1` };
  const heard = await listen(eventsUrl(access));
  const bytes = toBinary(PublishRequestSchema, message({ channelId: access.channel_id }));
  const publish = request(`${edge.url}/publish/1/${access.channel_id}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${monolith.development.publish_token}`,
      'content-type': 'application/x-protobuf',
      'content-length': bytes.length,
    },
  });
  const answered = once(publish, 'response');
  publish.write(bytes.subarray(0, 10));
  await until('it is under way, beside the listener', async () => (await edge.active()) === 2);
  edge.term();
  await until('nobody is let in', async () => !(await listens(edge.port)));
  publish.end(bytes.subarray(10));
  const [response] = await answered;
  expect(response.statusCode).toBe(200);
  const [id] = await once(response.setEncoding('utf8'), 'data');
  await until('it is heard', () => heard.events().some((event) => event.id === id));
  expect(await edge.ended).toBe(0);
  await until('the listener is cut', () => heard.end() === 'cut');
});
