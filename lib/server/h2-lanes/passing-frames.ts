import { FRAME_HEAD_BYTES, FrameFlag, type FrameHead, FrameType, readHead } from './frames.ts';

export interface FrameWatch {
  /** Called with every frame's head. `whole`: the frame is to be seen as one. */
  onHead(head: FrameHead): 'pass' | 'whole';
  /** May change what it is given. False: the frame goes no further. */
  onWhole(head: FrameHead, frame: Buffer): boolean;
}

/** Follows the frames of one direction of a connection, in whatever pieces they pass. */
export class PassingFrames {
  readonly #watch: FrameWatch;
  /** Of the frame that passes: what is to come. */
  #leftBytes: number;
  /** Of a frame that is not there yet, or only in part: its head, or all of it where it is to be seen whole. */
  #held: Buffer | undefined;
  #inHeaders = false;

  /** `prefaceBytes`: what goes before the first frame. */
  constructor(watch: FrameWatch, prefaceBytes = 0) {
    this.#watch = watch;
    this.#leftBytes = prefaceBytes;
  }

  /** Another frame may be put here: none is under way, nor a block of headers, which nothing may come between. */
  get atBoundary(): boolean {
    return this.#leftBytes === 0 && this.#held === undefined && !this.#inHeaders;
  }

  /** Calls `pass` with what goes on, in order. */
  push(piece: Buffer, pass: (piece: Buffer) => void): void {
    const bytes = this.#held === undefined ? piece : Buffer.concat([this.#held, piece]);
    this.#held = undefined;
    /** What has been looked at and not passed yet begins here. */
    let from = 0;
    let at = Math.min(this.#leftBytes, bytes.length);
    this.#leftBytes -= at;
    while (at < bytes.length) {
      const rest = bytes.length - at;
      if (rest < FRAME_HEAD_BYTES) break;
      const head = readHead(bytes, at);
      const frameBytes = FRAME_HEAD_BYTES + head.lengthBytes;
      if (this.#watch.onHead(head) === 'pass') {
        this.#note(head);
        this.#leftBytes = Math.max(0, frameBytes - rest);
        at += Math.min(frameBytes, rest);
        continue;
      }
      if (rest < frameBytes) break;
      const keep = this.#watch.onWhole(head, bytes.subarray(at, at + frameBytes));
      if (!keep) {
        if (at > from) pass(bytes.subarray(from, at));
        from = at + frameBytes;
      }
      at += frameBytes;
    }
    if (at > from) pass(bytes.subarray(from, at));
    if (at < bytes.length) this.#held = bytes.subarray(at);
  }

  #note({ type, flags }: FrameHead): void {
    if (type === FrameType.headers || type === FrameType.continuation) {
      this.#inHeaders = (flags & FrameFlag.endHeaders) === 0;
    }
  }
}
