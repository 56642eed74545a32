import { once } from 'node:events';
import { createServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';

/** A replica that says that it serves, and dies in the middle of each answer. */
export interface DyingReplica extends AsyncDisposable {
  readonly port: number;
  /** How many answers it died in. */
  readonly deaths: () => number;
}

/** grpc.health.v1: SERVING, in a gRPC frame. */
const SERVING = Buffer.from([0, 0, 0, 0, 2, 0x08, 0x01]);

/** It sends the head of an answer, and `body` if there is one, and then its connection breaks. */
export async function startDyingReplica(body?: Uint8Array): Promise<DyingReplica> {
  const sessions = new Set<ServerHttp2Session>();
  let deaths = 0;
  const server = createServer();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => undefined);
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    const type = headers['content-type'] ?? 'text/plain';
    if (headers[':path'] === '/grpc.health.v1.Health/Check') {
      stream.respond({ ':status': 200, 'content-type': type }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(SERVING);
      return;
    }
    stream.respond({ ':status': 200, 'content-type': type });
    if (body !== undefined) stream.write(body);
    deaths++;
    // The ping is answered after what was sent before it has arrived.
    stream.session?.ping(() => stream.session?.socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    deaths: () => deaths,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const session of sessions) session.destroy();
    },
  };
}
