import type { NodeServerResponse } from '#lib/server/node-http.ts';
import type { Sink } from './delivery.ts';
import { sseBrokerAway } from './sse-wire.ts';

/** An ended response that can't get rid of its last bytes for so long is cut. */
const FLUSH_DEADLINE_MS = 30_000;

const SSE_HEADERS = {
  'Content-Type': 'text/event-stream',
  // no-transform keeps proxies from compressing, and compressing means buffering.
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

/** An SSE response, over HTTP/1.1 or h2. The head goes out with the first write. */
export class HttpSink implements Sink<Uint8Array> {
  readonly #response: NodeServerResponse;
  onDrain: () => void = () => {};
  onGone: () => void = () => {};

  constructor(response: NodeServerResponse) {
    this.#response = response;
    response.on('drain', () => this.onDrain());
    response.on('close', () => this.onGone());
    response.on('error', () => this.onGone());
  }

  get isGone(): boolean {
    const response = this.#response;
    return 'stream' in response ? response.stream === undefined || response.stream.destroyed : response.destroyed;
  }

  get waitingBytes(): number {
    const response = this.#response;
    return 'stream' in response ? (response.stream?.writableLength ?? 0) : response.writableLength;
  }

  write(chunk: Uint8Array): boolean {
    if (!this.#response.headersSent) this.#response.writeHead(200, SSE_HEADERS);
    return this.#response.write(chunk);
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
      this.write(sseBrokerAway);
      this.end();
    } else {
      // What waits would go to a reader that takes nothing: it is dropped, and the reader resumes by id.
      this.#response.destroy();
    }
  }
}
