import type { NodeServerResponse } from '#lib/server/node-http.ts';
import type { Sink, Wire } from './delivery.ts';
import { chunkOf, sseBrokerAway, sseChunkWire, sseWire } from './sse-wire.ts';

/** An ended response that can't get rid of its last bytes for so long is cut. */
const FLUSH_DEADLINE_MS = 30_000;

const SSE_HEADERS = {
  'Content-Type': 'text/event-stream',
  // no-transform keeps proxies from compressing, and compressing means buffering.
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

/**
 * An SSE response, over HTTP/1.1 or h2. The head goes out with the first write.
 *
 * On HTTP/1.1 the chunks of the transfer coding are made with the event, once for all listeners, and written to the socket:
 * Node would make them again for each listener, and send them as three buffers. Only the head and the end are Node's.
 */
export class HttpSink implements Sink<Uint8Array> {
  readonly wire: Wire<Uint8Array>;
  readonly #response: NodeServerResponse;
  onDrain: () => void = () => {};
  onGone: () => void = () => {};

  constructor(response: NodeServerResponse) {
    this.#response = response;
    // HTTP/1.0 has no chunks, and a pipelined request's response no socket before the one in front of it has ended.
    const ownsSocket = !('stream' in response) && response.socket !== null && response.req.httpVersion === '1.1';
    this.wire = ownsSocket ? sseChunkWire : sseWire;
    const drains = ownsSocket ? response.socket : response;
    drains?.on('drain', this.#drained);
    response.on('close', () => {
      drains?.off('drain', this.#drained);
      this.onGone();
    });
    response.on('error', () => this.onGone());
  }

  readonly #drained = (): void => this.onDrain();

  get isGone(): boolean {
    const response = this.#response;
    return 'stream' in response ? response.stream === undefined || response.stream.destroyed : response.destroyed;
  }

  get waitingBytes(): number {
    const response = this.#response;
    return 'stream' in response ? (response.stream?.writableLength ?? 0) : response.writableLength;
  }

  write(chunk: Uint8Array): boolean {
    const response = this.#response;
    if (!response.headersSent) {
      response.writeHead(200, SSE_HEADERS);
      if ('flushHeaders' in response) response.flushHeaders();
    }
    if (this.wire !== sseChunkWire) return response.write(chunk);
    const { socket } = response;
    return socket === null || socket.destroyed || socket.write(chunk);
  }

  end(): void {
    const response = this.#response;
    response.end();
    if (this.waitingBytes === 0) return;
    const cut = setTimeout(() => response.destroy(), FLUSH_DEADLINE_MS).unref();
    response.on('close', () => clearTimeout(cut));
  }

  fail(reason: 'unavailable' | 'too_slow'): void {
    if (reason === 'unavailable') {
      this.write(this.wire === sseChunkWire ? chunkOf(sseBrokerAway) : sseBrokerAway);
      this.end();
    } else {
      // What waits would go to a reader that takes nothing: it is dropped, and the reader resumes by id.
      this.#response.destroy();
    }
  }
}
