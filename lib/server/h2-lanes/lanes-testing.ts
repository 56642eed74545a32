import { hash } from 'node:crypto';
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type ServerHttp2Stream } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { H2_PREFACE } from '../first-bytes.ts';
import type { H2Call } from '../h2-route.ts';
import type { ListenLimits } from '../limits.ts';
import { type Listening, listen } from '../listen.ts';
import { DEFAULT_WINDOW_BYTES, encodeFrame, FrameFlag, FrameType, MAX_WINDOW_BYTES, windowUpdate } from './frames.ts';
import type { Lane } from './lane.ts';
import { LANES_FROM_WINDOW_BYTES } from './wants-lanes.ts';

// Real ports, Node's own client, and one that sends what it is told.

const cleanups: (() => unknown)[] = [];
/** Ends what was opened: for `afterEach`, and within a test that opens much. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

/** Has this done at the end of the test, too. */
export function cleanWith(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

export interface Answering {
  readonly stream: ServerHttp2Stream;
  readonly lane: Lane | undefined;
}

export interface Port {
  readonly listening: Listening;
  /** The calls so far, by their paths: each has its headers, and a lane where there is one to be had. */
  readonly answering: Map<string, Answering>;
}

/** Takes every call with a route. Those to `/plain…` get no lane. */
export async function open(): Promise<Port> {
  const answering = new Map<string, Answering>();
  const listening = await takeCalls(({ stream, headers, laneOf }) => {
    const path = headers[':path'] ?? '';
    const lane = path.startsWith('/plain') ? undefined : laneOf(stream);
    stream.respond({ ':status': 200 });
    answering.set(path, { stream, lane });
  });
  return { listening, answering };
}

/** A port that hands every call to `handle`. */
export async function takeCalls(
  handle: (call: H2Call) => void,
  limits: Partial<ListenLimits> = {},
): Promise<Listening> {
  const h2Routes = [{ takes: () => true, handle }];
  const listening = await listen({ host: '127.0.0.1', port: 0, handler: () => {}, limits, h2Routes });
  cleanWith(async () => {
    listening.destroy();
    await listening.stopAccepting();
  });
  return listening;
}

export function connectTo({ listening }: Port, initialWindowSize?: number): ClientHttp2Session {
  const settings = initialWindowSize === undefined ? {} : { initialWindowSize };
  const session = connect(`http://127.0.0.1:${listening.port}`, { settings });
  session.on('error', () => {});
  askForLanes(session);
  cleanups.push(() => session.destroy());
  return session;
}

export async function ask(port: Port, session: ClientHttp2Session, path: string) {
  const stream = session.request({ ':path': path });
  stream.on('error', () => {});
  await once(stream, 'response');
  const answering = port.answering.get(path);
  if (answering === undefined) throw new Error('answered by nobody');
  return { lane: answering.lane, stream };
}

export async function askInALane(port: Port, session: ClientHttp2Session, path: string) {
  const { lane, ...asked } = await ask(port, session, path);
  if (lane === undefined) throw new Error('no lane');
  return { lane, ...asked };
}

/** A body as its length and its digest: what differs is told in a line. */
export async function received(stream: ClientHttp2Stream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return told(Buffer.concat(chunks));
}

export function told(body: Buffer): string {
  return `${body.length} bytes, ${hash('sha1', body)}`;
}

export function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let n = 0; n < length; n++) bytes[n] = n * 31 + seed * 17 + (n >> 8);
  return bytes;
}

/** Has a client of the tests ask for lanes, as Envoy does: with its first bytes. */
export function askForLanes(session: ClientHttp2Session): void {
  session.once('connect', () => session.setLocalWindowSize(2 * LANES_FROM_WINDOW_BYTES));
}

/** GET over http, of authority `a`, in HPACK: three entries of its static table, the path apart, and a literal. */
export const GET_HEADERS = { '/': '828684410161', '/plain': '828644062f706c61696e410161' };

interface RawOptions {
  readonly path?: keyof typeof GET_HEADERS;
  /** Its windows are as large as they can be, and never updated. */
  readonly hasAllWindow?: boolean;
}

/** A client that asks for lanes and for a path, and then sends what it is told. */
export async function rawClient(
  { listening }: Port,
  after: readonly Buffer[] = [],
  { path = '/', hasAllWindow = false }: RawOptions = {},
): Promise<Socket> {
  const socket = connectTcp(listening.port, '127.0.0.1');
  cleanups.push(() => socket.destroy());
  socket.on('error', () => {}).resume();
  await once(socket, 'connect');
  const settings = encodeFrame(FrameType.settings, 0, 0, Buffer.from(hasAllWindow ? '00047fffffff' : '', 'hex'));
  const window = windowUpdate(0, hasAllWindow ? MAX_WINDOW_BYTES - DEFAULT_WINDOW_BYTES : 2 ** 26);
  const get = encodeFrame(
    FrameType.headers,
    FrameFlag.endHeaders | FrameFlag.endStream,
    1,
    Buffer.from(GET_HEADERS[path], 'hex'),
  );
  socket.write(Buffer.concat([H2_PREFACE, settings, window, get, ...after]));
  return socket;
}
