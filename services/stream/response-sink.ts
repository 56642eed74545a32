import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { NodeServerResponse } from '#lib/server/node-http.ts';
import { ByteSink, type Ending, type Face, FLUSH_DEADLINE_MS } from './byte-sink.ts';
import { chunkOf } from './chunk-wire.ts';
import type { Wire } from './delivery.ts';

/**
 * Events as the answer to a request of Node's, over HTTP/1.1 or h2.
 *
 * On HTTP/1.1 the chunks of the transfer coding are made with the event, once for all listeners, and written to the socket:
 * Node would make them again for each listener, and send them as three buffers. On h2 they go to the stream. Only the head
 * and the end are Node's.
 */
export class ResponseSink<W = Wire<Uint8Array>> extends ByteSink<W> {
  readonly #response: NodeServerResponse;
  /** HTTP/1.1's, where this response has it for itself. */
  readonly #socket: Socket | undefined;
  /** Where the bytes go once the head is out. */
  #out: Socket | ServerHttp2Stream | NodeServerResponse | undefined;

  constructor(response: NodeServerResponse, face: Face<W>) {
    // HTTP/1.0 has no chunks, and a pipelined request's response no socket before the one in front of it has ended.
    const ownsSocket = !('stream' in response) && response.socket !== null && response.req.httpVersion === '1.1';
    super(face, ownsSocket ? face.chunkWire : face.wire);
    this.#response = response;
    this.#socket = ownsSocket ? (response.socket ?? undefined) : undefined;
    (this.#socket ?? response).on('drain', this.#onDrained);
    response.on('close', this.#onClosed);
    response.on('error', this.#onClosed);
  }

  readonly #onDrained = (): void => this.drained();

  readonly #onClosed = (): void => {
    this.#socket?.off('drain', this.#onDrained);
    this.closed();
  };

  protected get isClosed(): boolean {
    const response = this.#response;
    return 'stream' in response ? response.stream === undefined || response.stream.destroyed : response.destroyed;
  }

  protected get unsentBytes(): number {
    const response = this.#response;
    return 'stream' in response ? (response.stream?.writableLength ?? 0) : response.writableLength;
  }

  protected send(chunk: Uint8Array): boolean {
    return (this.#out ?? this.#begin()).write(chunk);
  }

  protected endWith(waiting: readonly Uint8Array[], { bytes, trailers }: Ending): void {
    const response = this.#response;
    if (waiting.length > 0 || bytes !== undefined) {
      const out = this.#out ?? this.#begin();
      for (const chunk of waiting) out.write(chunk);
      if (bytes !== undefined) out.write(this.#socket === undefined ? bytes : chunkOf(bytes));
    } else if (this.#out === undefined) {
      response.writeHead(200, this.face.headers);
    }
    if (trailers !== undefined) response.addTrailers(trailers);
    response.end();
    if (this.unsentBytes === 0) return;
    const cut = setTimeout(() => response.destroy(), FLUSH_DEADLINE_MS).unref();
    response.on('close', () => clearTimeout(cut));
  }

  protected cut(): void {
    this.#response.destroy();
  }

  protected leave(): void {
    (this.#socket ?? this.#response).off('drain', this.#onDrained);
  }

  /** Sends the head, or on h2 has it sent by the first write, which is to go to what this returns. */
  #begin(): Socket | NodeServerResponse {
    const response = this.#response;
    response.writeHead(200, this.face.headers);
    if ('stream' in response) {
      // Past the compatible response, which would look again at every write whether there is a head.
      this.#out = response.stream;
      return response;
    }
    response.flushHeaders();
    this.#out = this.#socket ?? response;
    return this.#out;
  }
}
