import type { OutgoingHttpHeaders } from 'node:http2';
import type { Sink, Wire } from './delivery.ts';

/** An ended response that can't get rid of its last bytes for so long is cut. */
export const FLUSH_DEADLINE_MS = 30_000;

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

/** The sink of a face's wire for whatever response is to be answered. */
export type MakeSink = <W>(face: Face<W>) => ByteSink<W>;

/**
 * A response that events are written to as bytes: {@link ResponseSink}, and {@link StreamSink} for h2. The head goes out with
 * the first write.
 *
 * What its reader does not take at once waits here, not in Node: it is only references to bytes that others share, and can
 * be dropped when the reader is cut, so that it still hears why.
 */
export abstract class ByteSink<W = Wire<Uint8Array>> implements Sink<Uint8Array> {
  readonly wire: W;
  protected readonly face: Face<W>;
  #waiting: Uint8Array[] | undefined;
  #waitingBytes = 0;
  #ended = false;
  onDrain: () => void = nothing;
  onGone: () => void = nothing;

  protected constructor(face: Face<W>, wire: W) {
    this.face = face;
    this.wire = wire;
  }

  /** The response is over, or the other side has gone. */
  protected abstract readonly isClosed: boolean;
  /** What Node holds. */
  protected abstract readonly unsentBytes: number;
  /** Sends the head if that was not done, and the chunk. False: `drained` is to be called. */
  protected abstract send(chunk: Uint8Array): boolean;
  /** Ends the response, with this before; the head may not have been sent. What can't be sent in time is cut. */
  protected abstract endWith(waiting: readonly Uint8Array[], ending: Ending): void;
  protected abstract cut(): void;
  /** Hears nothing more of it. */
  protected abstract leave(): void;

  protected drained(): void {
    const waiting = this.#waiting;
    if (waiting !== undefined && !this.#ended) {
      this.#waiting = undefined;
      this.#waitingBytes = 0;
      for (const chunk of waiting) this.write(chunk);
      if (this.#waiting !== undefined) return;
    }
    this.onDrain();
  }

  protected closed(): void {
    this.#waiting = undefined;
    this.onGone();
  }

  get isGone(): boolean {
    return this.#ended || this.isClosed;
  }

  get waitingBytes(): number {
    return this.#waitingBytes + this.unsentBytes;
  }

  write(chunk: Uint8Array): boolean {
    if (this.#waiting !== undefined) {
      this.#waiting.push(chunk);
      this.#waitingBytes += chunk.byteLength;
      return false;
    }
    if (this.isGone || this.send(chunk)) return true;
    this.#waiting = [];
    return false;
  }

  end(): void {
    this.finish(this.face.endings.ended);
  }

  fail(reason: 'unavailable' | 'too_slow'): void {
    if (reason === 'too_slow') this.#waiting = undefined;
    this.finish(this.face.endings[reason]);
  }

  /** Leaves the response to somebody else, before anything was written. */
  letGo(): void {
    this.#ended = true;
    this.leave();
  }

  /** Ends the response, with what was written and not dropped before; undefined: cuts it. */
  finish(ending: Ending | undefined): void {
    if (this.#ended) return;
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    this.#ended = true;
    if (this.isClosed) return;
    if (ending === undefined) this.cut();
    else this.endWith(waiting, ending);
  }
}

function nothing(): void {}
