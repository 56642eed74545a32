import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { create, toBinary, toJsonString } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import { SubscribeRequestSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { FACES } from './faces.ts';
import type { Answer, Ask, ListenJob } from './jobs.ts';
import { answerAsks } from './load-process.ts';
import { measuredOf } from './percentiles.ts';
import { RawH2 } from './raw-h2.ts';
import { type Scanned, Scanner } from './time-mark.ts';

// Listeners, in a process of their own. They read raw bytes and count marks in them: what they take from the machine, the
// server does not have.

interface Listener extends Scanned {
  readonly stalled: boolean;
  state: 'asked' | 'connected' | 'refused' | 'closed';
}

type Channel = ListenJob['channels'][number];

const CONNECT_DEADLINE_MS = 60_000;
/** Together, before the server gets a moment for others. */
const CONNECTED_AT_ONCE = 100;
const CONNECT_PAUSE_MS = 20;
/** Of one h2 connection; as many as Envoy has. */
const STREAMS_PER_CONNECTION = 200;
const QUIET_MS = 750;
const QUIET_DEADLINE_MS = 10_000;
const SUBSCRIBE_PATH = '/tideway.stream.v1.StreamService/Subscribe';

const readBuffer = Buffer.alloc(256 * 1024);
const scanner = new Scanner();
const listeners: Listener[] = [];
const stalledSockets: Socket[] = [];

answerAsks(async (ask: Ask): Promise<Answer> => {
  switch (ask.kind) {
    case 'listen':
      return listen(ask);
    case 'begin':
      scanner.begin();
      return { kind: 'begun' };
    case 'end': {
      const { count, samplesUs } = scanner.end();
      return { kind: 'measured', measured: measuredOf(count, samplesUs) };
    }
    case 'finish':
      // Whether it was cut is told behind what it has not read.
      for (const socket of stalledSockets) socket.resume();
      await untilQuiet();
      return {
        kind: 'heard',
        received: listeners.map(({ stalled, received }) => (stalled ? -1 : received)),
        closed: listeners.filter(({ stalled, state }) => !stalled && state === 'closed').length,
        stalledCut: listeners.filter(({ stalled, state }) => stalled && state === 'closed').length,
      };
    case 'publish':
      throw new Error('this process listens');
  }
});

async function listen(job: ListenJob): Promise<Answer> {
  let connection: RawH2 | undefined;
  for (let n = 0; n < job.listeners; n++) {
    const channel = job.channels[n % job.channels.length];
    if (channel === undefined) throw new Error('no channels');
    const stalled = job.stalledEvery > 0 && n % job.stalledEvery === job.stalledEvery - 1;
    const listener: Listener = { stalled, state: 'asked', received: 0, pending: 0 };
    listeners.push(listener);
    if (FACES[job.face].httpVersion === 1) {
      listenH1(job, channel, listener);
    } else {
      if (connection === undefined || n % STREAMS_PER_CONNECTION === 0) {
        connection = await RawH2.connect(job.place, readBuffer);
      }
      listenH2(connection, job, channel, listener);
    }
    if (n % CONNECTED_AT_ONCE === CONNECTED_AT_ONCE - 1) await delay(CONNECT_PAUSE_MS);
  }
  const deadlineMs = performance.now() + CONNECT_DEADLINE_MS;
  while (listeners.some(({ state }) => state === 'asked') && performance.now() < deadlineMs) await delay(20);
  const connected = listeners.filter(({ state }) => state === 'connected').length;
  return { kind: 'listening', connected, refused: listeners.length - connected };
}

function listenH1({ place, face, orgId }: ListenJob, channel: Channel, listener: Listener): void {
  const socket = connect({
    ...place,
    onread: {
      // For all sockets: reading is one at a time.
      buffer: readBuffer,
      callback(length) {
        const chunk = readBuffer.subarray(0, length);
        if (listener.state === 'asked') {
          const accepted = chunk.toString('latin1', 0, 12) === 'HTTP/1.1 200';
          listener.state = accepted ? 'connected' : 'refused';
          if (!accepted) socket.destroy();
          if (listener.stalled) {
            stalledSockets.push(socket);
            return false;
          }
        }
        scanner.scan(listener, chunk);
        return true;
      },
    },
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    listener.state = listener.state === 'connected' ? 'closed' : 'refused';
  });
  const { contentType } = FACES[face];
  socket.on('connect', () => {
    if (contentType === undefined) {
      socket.write(`GET ${eventsPath(orgId, channel)} HTTP/1.1\r\nHost: ${place.host}\r\n\r\n`);
      return;
    }
    const body = subscribeBody(contentType, orgId, channel);
    const head =
      `POST ${SUBSCRIBE_PATH} HTTP/1.1\r\nHost: ${place.host}\r\nContent-Type: ${contentType}\r\n` +
      `Authorization: Bearer ${channel.token}\r\nContent-Length: ${body.byteLength}\r\n\r\n`;
    socket.write(Buffer.concat([Buffer.from(head), body]));
  });
}

function listenH2(connection: RawH2, { face, orgId, place }: ListenJob, channel: Channel, listener: Listener): void {
  const { contentType } = FACES[face];
  const common = { ':scheme': 'http', ':authority': place.host };
  const [headers, body] =
    contentType === undefined
      ? [{ ...common, ':method': 'GET', ':path': eventsPath(orgId, channel) }, Buffer.alloc(0)]
      : [
          {
            ...{ ...common, ':method': 'POST', ':path': SUBSCRIBE_PATH, 'content-type': contentType, te: 'trailers' },
            authorization: `Bearer ${channel.token}`,
          },
          subscribeBody(contentType, orgId, channel),
        ];
  connection.open(headers, body, {
    onHeaders() {
      // What its status is, only its messages tell.
      listener.state = 'connected';
    },
    onData: (part) => scanner.scan(listener, part),
    onEnd() {
      listener.state = listener.state === 'connected' ? 'closed' : 'refused';
    },
  });
}

function eventsPath(orgId: number, { id, token }: Channel): string {
  return `/events/${orgId}?token=${token}&channel_id=${id}`;
}

function subscribeBody(contentType: string, orgId: number, { id }: Channel): Uint8Array {
  const message = create(SubscribeRequestSchema, { orgId: BigInt(orgId), channelId: id });
  const bytes = contentType.endsWith('json')
    ? Buffer.from(toJsonString(SubscribeRequestSchema, message))
    : toBinary(SubscribeRequestSchema, message);
  return encodeEnvelope(0, bytes);
}

async function untilQuiet(): Promise<void> {
  const deadlineMs = performance.now() + QUIET_DEADLINE_MS;
  for (let before = -1; before !== scanner.total && performance.now() < deadlineMs; ) {
    before = scanner.total;
    await delay(QUIET_MS);
  }
}
