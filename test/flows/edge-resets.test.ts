import { type ClientHttp2Session, connect } from 'node:http2';
import { toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { edgeSizes } from '../../envoy/limits.ts';
import { type Deployment, startDeployment } from '../support/deployment.ts';
import { listen } from '../support/events.ts';
import { ask } from '../support/raw-request.ts';
import { message } from '../support/story.ts';
import { until } from '../support/until.ts';

// What a service resets, Envoy counts as if it could not reach it, and takes who resets out for seconds. So nobody may
// bring a service to that from outside.
let deployment: Deployment;

beforeAll(async () => {
  deployment = await startDeployment({ replicas: { stream: 2, publish: 2 } });
});
afterAll(() => deployment?.stop());

/** Which Envoy sends no requests to. */
async function takenOut(): Promise<string[]> {
  const lines = (await deployment.edge.admin('/clusters')).split('\n');
  return lines.filter((line) => /^(?:stream|publish)::.*::health_flags::/.test(line) && !line.endsWith('::healthy'));
}

async function resets(cluster: 'publish' | 'stream'): Promise<number> {
  const text = await deployment.edge.admin(`/stats?filter=^cluster.${cluster}.upstream_rq_rx_reset$`);
  return Number(/: (\d+)/.exec(text)?.[1]);
}

test.each([1, 30, 60, 85])(
  '%i headers of all the bytes that the edge takes are taken by the services',
  async (count) => {
    // Each has a name, and on HTTP/1.1 four more bytes of its line.
    const valueBytes = Math.floor((edgeSizes.requestHeadersKiB * 1_024 - 400) / count) - 14;
    const headers = Object.fromEntries(
      Array.from({ length: count }, (_, i) => [`x-large-${i}`, 'x'.repeat(valueBytes)]),
    );
    // Again and again: a connection's first requests come before Envoy knows what the service allows.
    for (let n = 0; n < 10; n += 1) {
      const answers = await Promise.all([
        ask(`${deployment.edge.url}/healthz`, { headers }),
        ask(`${deployment.edge.url}/publish/1/x`, { method: 'POST', headers }),
      ]);
      expect(answers.map(({ status }) => status)).toEqual([200, 401]);
    }
    expect([await resets('stream'), await resets('publish'), await takenOut()]).toEqual([0, 0, []]);
  },
);

test('a few listeners that are too slow are cut, and the others keep the process that cut them', async () => {
  const { edge, orgId, publishToken } = deployment;
  const channel = await deployment.newChannel();
  const session = connect(edge.url);
  try {
    const before = await resets('stream');
    const cut = slowListeners(session, 8, `/events/${orgId}?token=${channel.token}&channel_id=${channel.id}`);
    while ((await resets('stream')) - before < 6) {
      const published = message({ channelId: channel.id, orgId, payload: { text: 'x'.repeat(15_000) } });
      const answer = await ask(`${edge.url}/publish/${orgId}/${channel.id}`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-protobuf', authorization: `Bearer ${publishToken}` },
        body: toBinary(PublishRequestSchema, published),
      });
      expect(answer.status).toBe(200);
      expect(await takenOut()).toEqual([]);
    }
    await cut;
    expect(await takenOut()).toEqual([]);
  } finally {
    session.destroy();
  }
});

test('listeners whose process dies before it answers are answered by another', async () => {
  const { edge, orgId, stream } = deployment;
  stream[1]?.kill('SIGSTOP');
  const channels = await Promise.all(Array.from({ length: 16 }, () => deployment.newChannel()));
  const listening = channels.map(({ id, token }) =>
    listen(`${edge.url}/events/${orgId}?token=${token}&channel_id=${id}`),
  );
  await until('some wait for the one that stands still', async () => {
    const line = new RegExp(`^stream::127.0.0.1:${stream[1]?.port}::rq_active::[1-9]`, 'm');
    return line.test(await edge.admin('/clusters'));
  });
  stream[1]?.kill('SIGKILL');
  for (const answer of await Promise.all(listening)) {
    // A stream has no length; what the edge says in place of one has.
    expect([answer.status, answer.headers['content-length']]).toEqual([200, undefined]);
    answer.close();
  }
  await deployment.restart('stream', 1);
});

/** Who listen and read nothing. Resolves when one has been cut. */
function slowListeners(session: ClientHttp2Session, count: number, path: string): Promise<unknown> {
  session.on('error', () => {});
  const cuts = Array.from({ length: count }, () => {
    const stream = session.request({ ':path': path });
    stream.pause();
    return new Promise((resolve) => stream.on('error', resolve));
  });
  return Promise.race(cuts);
}
