import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { startDyingReplica } from '../support/dying-replica.ts';
import { startEdge } from '../support/edge.ts';
import { grpcFace, httpFace, jsonFace, newMessage } from '../support/publishers.ts';
import { startMonolith } from '../support/tideway.ts';

/** How many of each: half of them, more or less, meet the replica that dies. */
const PUBLISHES = 8;

let replica: Awaited<ReturnType<typeof startMonolith>>;

beforeAll(async () => {
  replica = await startMonolith({ PUBLISH_RATE_PER_SEC: '0' });
});

afterAll(async () => {
  await replica?.stop();
});

test.each([
  ['HTTP', httpFace],
  ['gRPC', grpcFace],
  ['JSON', jsonFace],
])('a replica dies after the head of its answer: %s publishers get a whole one from another', async (_, makeFace) => {
  for (const body of [undefined, Buffer.from([0, 0, 0, 0, 40, 10])]) {
    await using dying = await startDyingReplica(body);
    const edge = await startEdge({ publish: [dying.port, replica.port], stream: [replica.port] });
    try {
      const { org_id, publish_token } = replica.development;
      const face = makeFace(edge.url, publish_token);
      for (let sequence = 0; sequence < PUBLISHES || dying.deaths() === 0; sequence++) {
        const sent = await face(newMessage(BigInt(org_id), randomUUID(), Phase.DELTA, sequence));
        expect(sent).toMatchObject({ kind: 'acknowledged' });
      }
    } finally {
      await edge.stop();
    }
  }
});
