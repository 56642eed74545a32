import type { ServerHttp2Stream } from 'node:http2';
import type { NodeServerRequest } from './node-http.ts';

const MAX_DROPPED_BYTES = 1024 * 1024;
const LINGER_MS = 2_000;

/**
 * Takes no more of a body than a little, which is dropped: who reads the answer only after it has sent all may do so. What
 * is more is not read, and the connection (of HTTP/2 the stream) ends, but not yet: closed while bytes arrive it would be
 * reset, and the answer lost on its way. Envoy makes a 503 of that.
 */
export function discardBody(request: NodeServerRequest | ServerHttp2Stream): void {
  let droppedBytes = 0;
  request.removeAllListeners('data');
  request.on('data', (chunk: Buffer) => {
    droppedBytes += chunk.byteLength;
    if (droppedBytes <= MAX_DROPPED_BYTES || request.isPaused()) return;
    request.pause();
    const timer = setTimeout(() => end(request), LINGER_MS);
    request.once('close', () => clearTimeout(timer));
  });
  request.resume();
}

function end(request: NodeServerRequest | ServerHttp2Stream): void {
  // A request of h2 that is destroyed leaves its stream as it is.
  if ('stream' in request) request.stream.destroy();
  else request.destroy();
}
