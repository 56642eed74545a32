import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { ByteSink, type Ending, type Face, FLUSH_DEADLINE_MS } from './byte-sink.ts';
import type { Wire } from './delivery.ts';

/**
 * Events as the answer on an h2 stream, without Node's compatible request and response: with what those hold on to, an idle
 * listener took half as much again.
 */
export class StreamSink<W = Wire<Uint8Array>> extends ByteSink<W> {
  readonly #stream: ServerHttp2Stream;
  readonly #more: OutgoingHttpHeaders;

  /** `more`: headers beside those of the face. */
  constructor(stream: ServerHttp2Stream, face: Face<W>, more: OutgoingHttpHeaders = {}) {
    super(face, face.wire);
    this.#stream = stream;
    this.#more = more;
    stream.on('drain', this.#onDrained);
    stream.on('close', this.#onClosed);
  }

  readonly #onDrained = (): void => this.drained();
  readonly #onClosed = (): void => this.closed();

  protected get isClosed(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }

  protected get unsentBytes(): number {
    return this.#stream.writableLength;
  }

  protected send(chunk: Uint8Array): boolean {
    if (!this.#stream.headersSent) this.#begin();
    return this.#stream.write(chunk);
  }

  protected endWith(waiting: readonly Uint8Array[], { bytes, trailers }: Ending): void {
    const stream = this.#stream;
    if (!stream.headersSent) {
      if (waiting.length === 0 && bytes === undefined) {
        // In one piece, as H2Response does.
        stream.respond({ ...this.face.headers, ...this.#more, ...trailers }, { endStream: true });
        return;
      }
      this.#begin();
    }
    for (const chunk of waiting) stream.write(chunk);
    if (bytes !== undefined) stream.write(bytes);
    if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end();
    if (this.unsentBytes === 0) return;
    const cut = setTimeout(() => this.cut(), FLUSH_DEADLINE_MS).unref();
    stream.on('close', () => clearTimeout(cut));
  }

  protected cut(): void {
    this.#stream.destroy();
  }

  protected leave(): void {
    this.#stream.off('drain', this.#onDrained);
    this.#stream.off('close', this.#onClosed);
  }

  #begin(): void {
    const { headers, endings } = this.face;
    this.#stream.respond({ ...headers, ...this.#more }, { waitForTrailers: endings.ended?.trailers !== undefined });
  }
}
