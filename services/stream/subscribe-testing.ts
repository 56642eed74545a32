import { once } from 'node:events';
import { type IncomingMessage, request as requestH1 } from 'node:http';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { keysFromPem } from '#lib/auth/key-source.ts';
import { createStreamTokenVerifier } from '#lib/auth/stream-token.ts';
import { createStreamTokenSigner } from '#lib/auth/stream-token-signer.ts';
import { AUDIENCE, ISSUER, makeKeys } from '#lib/auth/testing.ts';
import type { Broker } from '#lib/broker/broker.ts';
import { Gate } from '#lib/server/gate.ts';
import { askForLanes } from '#lib/server/h2-lanes/lanes-testing.ts';
import { type RunningService, runService } from '#lib/server/run-service.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { streamService } from './routes.ts';

/** What tests of Subscribe's bytes share: the same listeners behind our handlers and behind connect-node, and raw calls. */

export const ORG_ID = 1n;
export const SUBSCRIBE = '/tideway.stream.v1.StreamService/Subscribe';

export interface BothWays {
  /** As we answer. */
  readonly ours: number;
  /** As connect-node does, of the same service. */
  readonly theirs: number;
  token(channelId: string | readonly string[]): Promise<string>;
  drain(): Promise<void>;
  stop(): Promise<void>;
}

export async function serveBothWays(broker: Broker, more: { maxListeners?: number } = {}): Promise<BothWays> {
  const { privatePem, publicPem } = makeKeys('EdDSA');
  const common = { issuer: ISSUER, audience: AUDIENCE };
  const signer = createStreamTokenSigner({ ...common, name: 'KEY', privateKeyPem: privatePem, ttlSec: 600 });
  const streamTokens = createStreamTokenVerifier({
    ...common,
    keys: keysFromPem({ name: 'KEY', pem: publicPem }),
  });
  const logger = createLogger('test', 'silent');
  const parts = streamService({
    gate: new Gate({ streamTokens, starters: 'anybody' }),
    broker,
    signer,
    publicUrl: undefined,
    maxConnectionMs: 0,
    maxListeners: 1000,
    logger,
    ...more,
  });
  const run = (part: typeof parts): Promise<RunningService> =>
    runService({ host: '127.0.0.1', port: 0, parts: [part], reflection: false, drainTimeoutMs: 400, logger });
  const [ours, theirs] = [await run(parts), await run({ ...parts, rawRpcs: [], h2Routes: [] })];
  return {
    ours: ours.port,
    theirs: theirs.port,
    token: (channelId) => signer.sign({ orgId: ORG_ID, channelId }),
    drain: async () => parts.drain?.(0),
    stop: async () => {
      await Promise.all([ours.stop(), theirs.stop()]);
    },
  };
}

/** An answer, as it was on the wire. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: Buffer;
  readonly trailers: Record<string, unknown>;
}

export type HttpVersion = 1 | 2 | '2, in lanes';

export interface RawCall {
  readonly httpVersion: HttpVersion;
  readonly headers: Record<string, string>;
  readonly body: Uint8Array;
  readonly method?: string;
  readonly path?: string;
  /** Hears of the body as it comes. */
  readonly onBody?: (body: Buffer) => void;
}

export function callRaw(port: number, call: RawCall): Promise<RawAnswer> {
  return call.httpVersion === 1 ? callH1(port, call) : callH2(port, call);
}

async function callH2(
  port: number,
  { httpVersion, headers, body, method = 'POST', path = SUBSCRIBE, onBody }: RawCall,
) {
  const session: ClientHttp2Session = connect(`http://127.0.0.1:${port}`);
  if (httpVersion === '2, in lanes') askForLanes(session);
  const stream = session.request({ ':method': method, ':path': path, te: 'trailers', ...headers });
  let trailers: IncomingHttpHeaders = {};
  stream.on('trailers', (received) => {
    trailers = received;
  });
  stream.end(body);
  const [answered] = (await once(stream, 'response')) as [IncomingHttpHeaders];
  const bytes = await collect(stream, onBody);
  session.destroy();
  const { ':status': status, ...rest } = answered;
  return { status: Number(status), headers: named(rest), body: bytes, trailers: named(trailers) };
}

async function callH1(port: number, { headers, body, method = 'POST', path = SUBSCRIBE, onBody }: RawCall) {
  const asking = requestH1({ port, host: '127.0.0.1', method, path, headers, agent: false });
  asking.end(body);
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  const bytes = await collect(response, onBody);
  return {
    status: response.statusCode ?? 0,
    headers: named(response.headers),
    body: bytes,
    trailers: named(response.trailers),
  };
}

async function collect(stream: AsyncIterable<Buffer>, onBody: ((body: Buffer) => void) | undefined): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of stream) {
    bytes = Buffer.concat([bytes, chunk]);
    onBody?.(bytes);
  }
  return bytes;
}

/** Without the time, which differs. */
function named(headers: NodeJS.Dict<string | string[]>): Record<string, unknown> {
  const { date: _, ...rest } = headers;
  return { ...rest };
}

/** The frames of a body, each with its head; what is left over comes last. */
export function framesOf(body: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < body.byteLength; ) {
    const end = at + 5 > body.byteLength ? body.byteLength : at + 5 + body.readUInt32BE(at + 1);
    frames.push(body.subarray(at, end));
    at = end;
  }
  return frames;
}
