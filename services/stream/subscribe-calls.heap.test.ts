import { connect, constants } from 'node:http2';
import { queryObjects } from 'node:v8';
import { create, toBinary } from '@bufbuild/protobuf';
import { onTestFinished, test } from 'vitest';
import { SubscribeRequestSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { until } from '../../test/support/until.ts';
import { StreamSink } from './stream-sink.ts';
import { ORG_ID, SUBSCRIBE, serveBothWays } from './subscribe-testing.ts';

const CALLS = 100;

test('of callers who leave while their token is looked at nothing is kept until their deadline', async () => {
  const broker = createMemoryBroker();
  const both = await serveBothWays(broker);
  onTestFinished(async () => {
    await both.stop();
    await broker.close();
  });
  const channelId = crypto.randomUUID();
  const message = toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, { orgId: ORG_ID, channelId }));
  const body = Buffer.concat([Buffer.from([0, 0, 0, 0, message.byteLength]), message]);
  // New ones, so that each is verified.
  const tokens = await Promise.all(Array.from({ length: CALLS }, () => both.token(channelId)));
  const alive = () => queryObjects(StreamSink, { format: 'count' });
  const before = alive();
  const session = connect(`http://127.0.0.1:${both.ours}`);
  onTestFinished(() => session.destroy());
  for (const token of tokens) {
    const headers = { 'content-type': 'application/grpc', te: 'trailers', authorization: `Bearer ${token}` };
    const stream = session.request({ ':method': 'POST', ':path': SUBSCRIBE, ...headers });
    stream.on('error', () => {});
    stream.end(body);
    const closed = new Promise((resolve) => stream.on('close', resolve));
    setImmediate(() => stream.close(constants.NGHTTP2_CANCEL));
    await closed;
  }
  await until('all are gone', () => alive() <= before);
});
