import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Lane } from '#lib/server/h2-lanes/lane.ts';
import type { H2Call, LaneOf } from '#lib/server/h2-route.ts';
import { ByteSink, type Ending, type Face, FLUSH_DEADLINE_MS } from './byte-sink.ts';
import type { Wire } from './delivery.ts';

/**
 * Events as the answer on an h2 stream, without Node's compatible request and response: with what those hold on to, an idle
 * listener took half as much again. Where the client asked for lanes, as Envoy does, its bytes go into one.
 */
export class StreamSink<W = Wire<Uint8Array>> extends ByteSink<W> {
  readonly #stream: ServerHttp2Stream;
  readonly #more: OutgoingHttpHeaders;
  readonly #laneOf: LaneOf;
  #lane: Lane | undefined;

  /** `more`: headers beside those of the face. */
  constructor({ stream, laneOf }: Pick<H2Call, 'stream' | 'laneOf'>, face: Face<W>, more: OutgoingHttpHeaders = {}) {
    super(face, face.wire);
    this.#stream = stream;
    this.#more = more;
    this.#laneOf = laneOf;
    stream.on('drain', this.#onDrained);
    stream.on('close', this.#onClosed);
  }

  readonly #onDrained = (): void => this.drained();
  readonly #onClosed = (): void => this.closed();

  protected get isClosed(): boolean {
    return this.#lane?.isClosed ?? (this.#stream.destroyed || this.#stream.closed);
  }

  protected get unsentBytes(): number {
    return this.#lane?.waitingBytes ?? this.#stream.writableLength;
  }

  protected send(chunk: Uint8Array): boolean {
    if (!this.#stream.headersSent) this.#begin();
    return (this.#lane ?? this.#stream).write(chunk);
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
    const out = this.#lane ?? stream;
    for (const chunk of waiting) out.write(chunk);
    if (bytes !== undefined) out.write(bytes);
    if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    if (this.#lane === undefined) stream.end();
    else this.#lane.end(() => stream.end());
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
    this.#lane = this.#laneOf(this.#stream);
    if (this.#lane !== undefined) this.#lane.onDrain = this.#onDrained;
    // Node resets a stream that ends while its window is used up to the byte, but for one that waits for trailers, also for
    // none. What a lane sends is not of the window that Node knows.
    const waitForTrailers = this.#lane === undefined || endings.ended?.trailers !== undefined;
    this.#stream.respond({ ...headers, ...this.#more }, { waitForTrailers });
  }
}
