import { FRAME_HEAD_BYTES, writeDataHead } from './frames.ts';

/** More than this waiting asks its writer to pause, as a stream of Node's would. */
const HIGH_WATER_BYTES = 16 * 1024;

/** Of a lane that nothing waits in: idle ones are many. */
const NOTHING: Uint8Array[] = [];

/** What a lane needs of its connection. */
export interface LaneOwner {
  /** It has something to send, and may. */
  ready(lane: Lane): void;
}

/**
 * The DATA of one HTTP/2 stream, past nghttp2. Headers, trailers and the end of the stream are Node's, on the stream itself.
 */
export class Lane {
  /** Called once nothing waits, after `write` has answered false. */
  onDrain: () => void = nothing;
  /** Its connection's mark: it is among those that have something to send. */
  isReady = false;
  readonly #owner: LaneOwner;
  readonly #streamId: number;
  #windowBytes: number;
  #waiting = NOTHING;
  #waitingBytes = 0;
  /** Of the first that waits: what was sent. */
  #sentBytes = 0;
  /** What the next fill is for. */
  #plannedBytes = 0;
  #headersAreOut = false;
  #wantsDrain = false;
  #isClosed = false;

  constructor(owner: LaneOwner, streamId: number, windowBytes: number) {
    this.#owner = owner;
    this.#streamId = streamId;
    this.#windowBytes = windowBytes;
  }

  /** What was written and not yet given to the socket. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** The stream is over, the peer has reset it, or is about to hear that it is. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** What it may send now, the connection's window apart. */
  get sendableBytes(): number {
    return this.#headersAreOut ? Math.max(0, Math.min(this.#waitingBytes, this.#windowBytes)) : 0;
  }

  /** The chunk is sent later: it must not be changed. False: `onDrain` follows. Nothing is sent once it is closed. */
  write(chunk: Uint8Array): boolean {
    if (this.#isClosed || chunk.byteLength === 0) return true;
    if (this.#waiting === NOTHING) this.#waiting = [chunk];
    else this.#waiting.push(chunk);
    this.#waitingBytes += chunk.byteLength;
    if (this.#headersAreOut && this.#windowBytes > 0) this.#owner.ready(this);
    if (this.#waitingBytes < HIGH_WATER_BYTES) return true;
    this.#wantsDrain = true;
    return false;
  }

  /** Calls this once all that was written has been given to the socket. Nothing may be written after it. */
  end(whenSent: () => void): void {
    if (this.#waitingBytes === 0) {
      whenSent();
      return;
    }
    this.#wantsDrain = true;
    this.onDrain = whenSent;
  }

  /** Its headers have gone out: no DATA may be sent before. */
  open(): void {
    this.#headersAreOut = true;
    if (this.sendableBytes > 0) this.#owner.ready(this);
  }

  /** Drops what waits; nothing more is sent. */
  close(): void {
    this.#isClosed = true;
    this.#waiting = NOTHING;
    this.#waitingBytes = 0;
  }

  /** By what the peer has read, or by a change of its settings. @returns the window. */
  credit(bytes: number): number {
    this.#windowBytes += bytes;
    if (this.sendableBytes > 0) this.#owner.ready(this);
    return this.#windowBytes;
  }

  /** Sets aside what of it is sent next. @returns how much, of at most so much. */
  plan(mostBytes: number): number {
    this.#plannedBytes = Math.min(this.sendableBytes, mostBytes);
    return this.#plannedBytes;
  }

  /** Writes the frames of what was planned. @returns where they end. */
  fill(out: Buffer, at: number, maxFrameBytes: number): number {
    const bytes = this.#plannedBytes;
    let end = at;
    for (let left = bytes; left > 0; ) {
      const length = Math.min(left, maxFrameBytes);
      end = this.#take(out, writeDataHead(out, end, length, this.#streamId), length);
      left -= length;
    }
    this.#windowBytes -= bytes;
    this.#waitingBytes -= bytes;
    return end;
  }

  /** After a fill: tells its writer, where it waits. */
  settle(): void {
    if (!this.#wantsDrain || this.#waitingBytes > 0 || this.#isClosed) return;
    this.#wantsDrain = false;
    this.onDrain();
  }

  #take(out: Buffer, at: number, bytes: number): number {
    const waiting = this.#waiting;
    let taken = 0;
    let end = at;
    for (let left = bytes; left > 0; ) {
      const chunk = waiting[taken];
      if (chunk === undefined) throw new Error('a lane was asked for more than waits in it');
      const available = chunk.byteLength - this.#sentBytes;
      if (available <= left) {
        out.set(this.#sentBytes === 0 ? chunk : chunk.subarray(this.#sentBytes), end);
        this.#sentBytes = 0;
        taken++;
        left -= available;
        end += available;
      } else {
        out.set(chunk.subarray(this.#sentBytes, this.#sentBytes + left), end);
        this.#sentBytes += left;
        end += left;
        left = 0;
      }
    }
    this.#waiting = taken === waiting.length ? NOTHING : waiting.slice(taken);
    return end;
  }
}

/** What frames of so many bytes take on the wire. */
export function framedBytes(bytes: number, maxFrameBytes: number): number {
  return bytes + Math.ceil(bytes / maxFrameBytes) * FRAME_HEAD_BYTES;
}

/** What fits into so many bytes, with its frames' heads. */
export function unframedBytes(bytes: number, maxFrameBytes: number): number {
  return Math.max(0, bytes - Math.ceil(bytes / (maxFrameBytes + FRAME_HEAD_BYTES)) * FRAME_HEAD_BYTES);
}

function nothing(): void {}
