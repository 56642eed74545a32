import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { NodeServerResponse } from '#lib/server/node-http.ts';
import { chunkOf } from './chunk-wire.ts';
import type { Sink, Wire } from './delivery.ts';

/** An ended response that can't get rid of its last bytes for so long is cut. */
const FLUSH_DEADLINE_MS = 30_000;

/** What follows the last event. */
export interface Ending {
  readonly bytes?: Uint8Array;
  readonly trailers?: OutgoingHttpHeaders;
}

/** A protocol in which a response carries events: what is around them, and how they are spelled. */
export interface Face<W = Wire<Uint8Array>> {
  readonly headers: OutgoingHttpHeaders;
  readonly wire: W;
  /** The wire in chunks of HTTP/1.1's transfer coding. */
  readonly chunkWire: W;
  /** Undefined: there is no way to say that, and the response is cut. */
  readonly endings: Readonly<Record<'ended' | 'unavailable' | 'too_slow', Ending | undefined>>;
}

/**
 * A response that events are written to as bytes, over HTTP/1.1 or h2. The head goes out with the first write.
 *
 * On HTTP/1.1 the chunks of the transfer coding are made with the event, once for all listeners, and written to the socket:
 * Node would make them again for each listener, and send them as three buffers. On h2 they go to the stream. Only the head
 * and the end are Node's.
 *
 * What its reader does not take at once waits here, not in Node: it is only references to bytes that others share, and can
 * be dropped when the reader is cut, so that it still hears why.
 */
export class ByteSink<W = Wire<Uint8Array>> implements Sink<Uint8Array> {
  readonly wire: W;
  readonly #response: NodeServerResponse;
  readonly #face: Face<W>;
  /** HTTP/1.1's, where this response has it for itself. */
  readonly #socket: Socket | undefined;
  /** Where the bytes go once the head is out. */
  #out: Socket | ServerHttp2Stream | NodeServerResponse | undefined;
  #waiting: Uint8Array[] | undefined;
  #waitingBytes = 0;
  #ended = false;
  onDrain: () => void = () => {};
  onGone: () => void = () => {};

  constructor(response: NodeServerResponse, face: Face<W>) {
    this.#response = response;
    this.#face = face;
    // HTTP/1.0 has no chunks, and a pipelined request's response no socket before the one in front of it has ended.
    const ownsSocket = !('stream' in response) && response.socket !== null && response.req.httpVersion === '1.1';
    this.#socket = ownsSocket ? (response.socket ?? undefined) : undefined;
    this.wire = ownsSocket ? face.chunkWire : face.wire;
    (this.#socket ?? response).on('drain', this.#drained);
    response.on('close', this.#closed);
    response.on('error', this.#closed);
  }

  readonly #drained = (): void => {
    const waiting = this.#waiting;
    if (waiting !== undefined && !this.#ended) {
      this.#waiting = undefined;
      this.#waitingBytes = 0;
      for (const chunk of waiting) this.write(chunk);
      if (this.#waiting !== undefined) return;
    }
    this.onDrain();
  };

  readonly #closed = (): void => {
    this.#socket?.off('drain', this.#drained);
    this.#waiting = undefined;
    this.onGone();
  };

  get isGone(): boolean {
    const response = this.#response;
    if (this.#ended) return true;
    return 'stream' in response ? response.stream === undefined || response.stream.destroyed : response.destroyed;
  }

  get waitingBytes(): number {
    return this.#waitingBytes + this.#unsentBytes;
  }

  get #unsentBytes(): number {
    const response = this.#response;
    return 'stream' in response ? (response.stream?.writableLength ?? 0) : response.writableLength;
  }

  write(chunk: Uint8Array): boolean {
    if (this.#waiting !== undefined) {
      this.#waiting.push(chunk);
      this.#waitingBytes += chunk.byteLength;
      return false;
    }
    const out = this.#out ?? this.#begin();
    if (this.isGone || out.write(chunk)) return true;
    this.#waiting = [];
    return false;
  }

  end(): void {
    this.finish(this.#face.endings.ended);
  }

  fail(reason: 'unavailable' | 'too_slow'): void {
    if (reason === 'too_slow') this.#waiting = undefined;
    this.finish(this.#face.endings[reason]);
  }

  /** Leaves the response to somebody else, before anything was written. */
  letGo(): void {
    this.#ended = true;
    (this.#socket ?? this.#response).off('drain', this.#drained);
  }

  /** Ends the response, with what was written and not dropped before; undefined: cuts it. */
  finish(ending: Ending | undefined): void {
    if (this.#ended) return;
    const response = this.#response;
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    this.#ended = true;
    if (ending === undefined) {
      response.destroy();
      return;
    }
    const { bytes, trailers } = ending;
    if (waiting.length > 0 || bytes !== undefined) {
      const out = this.#out ?? this.#begin();
      for (const chunk of waiting) out.write(chunk);
      if (bytes !== undefined) out.write(this.#socket === undefined ? bytes : chunkOf(bytes));
    } else if (this.#out === undefined) {
      response.writeHead(200, this.#face.headers);
    }
    if (trailers !== undefined) response.addTrailers(trailers);
    response.end();
    if (this.#unsentBytes === 0) return;
    const cut = setTimeout(() => response.destroy(), FLUSH_DEADLINE_MS).unref();
    response.on('close', () => clearTimeout(cut));
  }

  /** Sends the head, or on h2 has it sent by the first write, which is to go to what this returns. */
  #begin(): Socket | NodeServerResponse {
    const response = this.#response;
    response.writeHead(200, this.#face.headers);
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
