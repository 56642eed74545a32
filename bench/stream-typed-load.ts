import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { type ClientHttp2Session, connect as connectH2 } from 'node:http2';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { create, toBinary, toJsonString } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { SubscribeRequestSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';

// The listeners and publishers of stream-fanout.ts, in a process of their own. Listeners are raw: they count messages and
// look for the time in some of them, and decode nothing, so that they take little of a processor that the server needs.

export interface Access {
  readonly port: number;
  readonly publishToken: string;
  readonly channels: readonly { readonly channelId: string; readonly token: string }[];
}

export const FACES = {
  bare: { contentType: undefined, httpVersion: 1 },
  sse: { contentType: undefined, httpVersion: 1 },
  'sse-h2': { contentType: undefined, httpVersion: 2 },
  'connect-json': { contentType: 'application/connect+json', httpVersion: 1 },
  'connect-binary': { contentType: 'application/connect+proto', httpVersion: 1 },
  'connect-json-h2': { contentType: 'application/connect+json', httpVersion: 2 },
  'grpc-web': { contentType: 'application/grpc-web+proto', httpVersion: 1 },
  grpc: { contentType: 'application/grpc', httpVersion: 2 },
} as const;
export type FaceName = keyof typeof FACES;

export interface Job {
  readonly access: Access;
  readonly face: FaceName;
  readonly listeners: number;
  /** All channels together. 0: nobody publishes. */
  readonly messagesPerSec: number;
  readonly warmUpMs: number;
  readonly measuredMs: number;
  /** Of h2; a service's client has one, Envoy several. */
  readonly listenersPerConnection: number;
}

export interface Measured {
  readonly deliveries: number;
  readonly expected: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const MARK = Buffer.from('T=');
const MARK_END = ';'.charCodeAt(0);
const TEXT = 'x'.repeat(120);
/** One message in so many is looked at for its time. */
const SAMPLED = 7;

if (process.send !== undefined && process.argv[2] === 'load') {
  process.on('disconnect', () => process.exit());
  process.on('message', (job: Job) => void load(job));
}

async function load({ access, face, listeners, messagesPerSec, ...rest }: Job): Promise<void> {
  const { channels } = access;
  let counting = false;
  let deliveries = 0;
  const latencies: number[] = [];
  const count = (chunk: Buffer) => {
    if (!counting) return;
    for (let at = chunk.indexOf(MARK); at >= 0; at = chunk.indexOf(MARK, at + MARK.byteLength)) {
      deliveries++;
      if (deliveries % SAMPLED !== 0) continue;
      const end = chunk.indexOf(MARK_END, at);
      if (end > 0) latencies.push(performance.now() - Number(chunk.toString('latin1', at + MARK.byteLength, end)));
    }
  };
  const sessions: ClientHttp2Session[] = [];
  for (let n = 0; n < listeners; n++) {
    const channel = channels[n % channels.length];
    if (channel === undefined) throw new Error('no channel');
    if (FACES[face].httpVersion === 1) {
      await listenH1(access.port, face, channel, count);
    } else {
      if (n % rest.listenersPerConnection === 0) {
        const session = connectH2(`http://127.0.0.1:${access.port}`);
        await once(session, 'connect');
        session.setLocalWindowSize(1 << 24);
        sessions.push(session);
      }
      listenH2(sessions.at(-1) as ClientHttp2Session, face, channel, count);
      if (n % 100 === 0) await delay(5);
    }
  }
  await delay(2_000);
  process.send?.('listening');
  await delay(rest.warmUpMs > 0 ? 0 : rest.measuredMs);
  if (messagesPerSec > 0) {
    const agent = new Agent({ keepAlive: true, maxSockets: 16 });
    let published = 0;
    let measuredMessages = 0;
    let startMs = performance.now();
    let state: 'warm' | 'measured' | 'over' = 'warm';
    while (state !== 'over') {
      const nowMs = performance.now() - startMs;
      if (state === 'warm' && nowMs >= rest.warmUpMs) {
        // What was published before is delivered before.
        await delay(500);
        startMs += 500;
        state = 'measured';
        counting = true;
        process.send?.('measuring');
      }
      if (nowMs >= rest.warmUpMs + rest.measuredMs + 500) state = 'over';
      for (; state !== 'over' && published < (nowMs / 1000) * messagesPerSec; published++) {
        if (state === 'measured') measuredMessages++;
        publish(access, channels[published % channels.length]?.channelId ?? '', face, agent, published);
      }
      await delay(2);
    }
    await delay(300);
    latencies.sort((a, b) => a - b);
    const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? Number.NaN;
    const measured: Measured = {
      deliveries,
      expected: (measuredMessages * listeners) / channels.length,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
    };
    process.send?.(measured);
  }
}

function publish(access: Access, channelId: string, face: FaceName, agent: Agent, sequence: number): void {
  const text = `T=${performance.now()};${TEXT}`;
  const messageId = crypto.randomUUID();
  const body =
    face === 'bare'
      ? Buffer.from(JSON.stringify({ message_id: messageId, channel_id: channelId, sequence, payload: { text } }))
      : toBinary(
          PublishRequestSchema,
          create(PublishRequestSchema, {
            channelId,
            messageId,
            phase: Phase.DELTA,
            sequence: BigInt(sequence),
            payload: { text },
          }),
        );
  const asking = request({
    port: access.port,
    host: '127.0.0.1',
    method: 'POST',
    path: `/publish/1/${channelId}`,
    agent,
    headers: {
      authorization: `Bearer ${access.publishToken}`,
      'content-type': 'application/x-protobuf',
      'content-length': body.byteLength,
    },
  });
  asking.on('response', (response) => {
    if (response.statusCode !== 200) throw new Error(`a publish was answered ${response.statusCode}`);
    response.resume();
  });
  asking.end(body);
}

type Channel = Access['channels'][number];

function eventsPath({ channelId, token }: Channel): string {
  return `/events/1?token=${token}&channel_id=${channelId}`;
}

function subscribeBody(face: FaceName, { channelId }: Channel): Uint8Array {
  const message = create(SubscribeRequestSchema, { orgId: 1n, channelId });
  return encodeEnvelope(
    0,
    FACES[face].contentType?.endsWith('json')
      ? Buffer.from(toJsonString(SubscribeRequestSchema, message))
      : toBinary(SubscribeRequestSchema, message),
  );
}

async function listenH1(port: number, face: FaceName, channel: Channel, count: (chunk: Buffer) => void) {
  const { contentType } = FACES[face];
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('data', count);
  socket.on('error', () => {});
  await once(socket, 'connect');
  if (contentType === undefined) {
    socket.write(`GET ${eventsPath(channel)} HTTP/1.1\r\nHost: x\r\n\r\n`);
    return;
  }
  const body = subscribeBody(face, channel);
  socket.write(
    `POST /tideway.stream.v1.StreamService/Subscribe HTTP/1.1\r\nHost: x\r\nContent-Type: ${contentType}\r\n` +
      `Authorization: Bearer ${channel.token}\r\nContent-Length: ${body.byteLength}\r\n\r\n`,
  );
  socket.write(body);
}

function listenH2(session: ClientHttp2Session, face: FaceName, channel: Channel, count: (chunk: Buffer) => void) {
  const { contentType } = FACES[face];
  const stream =
    contentType === undefined
      ? session.request({ ':path': eventsPath(channel) })
      : session.request({
          ':method': 'POST',
          ':path': '/tideway.stream.v1.StreamService/Subscribe',
          'content-type': contentType,
          te: 'trailers',
          authorization: `Bearer ${channel.token}`,
        });
  stream.on('data', count);
  stream.on('error', () => {});
  if (contentType !== undefined) stream.end(subscribeBody(face, channel));
}
