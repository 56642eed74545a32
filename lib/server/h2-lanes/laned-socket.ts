import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { H2_PREFACE } from '../first-bytes.ts';
import {
  DEFAULT_MAX_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  FRAME_HEAD_BYTES,
  FrameFlag,
  type FrameHead,
  FrameType,
  MAX_WINDOW_BYTES,
  type PeerSettings,
  readSettings,
  windowUpdate,
} from './frames.ts';
import { framedBytes, Lane, type LaneOwner, unframedBytes } from './lane.ts';
import { PassingFrames } from './passing-frames.ts';
import { SharedWindow } from './shared-window.ts';

/** Sent in one write. */
const FLUSH_BYTES = 64 * 1024;
/**
 * Where the frames of a flush are put together, for all connections: a socket that takes them all has done so when `write`
 * returns. Memory made for each flush would count as external to V8's heap, which is looked through for that again and
 * again: every 1.6 s at 10,000 deliveries a second, for a fifth of the process's CPU.
 */
let flushing = Buffer.allocUnsafeSlow(FLUSH_BYTES);

/**
 * A connection between nghttp2 and its socket, on which streams may send their DATA past nghttp2: in {@link Lane}s.
 *
 * Through nghttp2 and the streams that Node puts around it a small write costs about 20 us, whatever it is. What lanes wrote
 * in a turn of the event loop goes out as one write a connection: a frame's head and a copy each.
 *
 * Everything else stays nghttp2's: headers, settings, pings, resets, the state of streams. It does not know what lanes
 * send, so flow control is divided here: the windows of streams with a lane are the lanes', the connection's is shared
 * ({@link SharedWindow}); a peer's WINDOW_UPDATE goes to whom it is for. What nghttp2 sends is followed so that frames are
 * put between its frames, and after the headers of their stream.
 */
export class LanedSocket extends Duplex implements LaneOwner {
  readonly #socket: Socket;
  readonly #incoming: PassingFrames;
  readonly #outgoing: PassingFrames;
  readonly #window = new SharedWindow();
  readonly #peer: PeerSettings = {
    initialWindowBytes: DEFAULT_WINDOW_BYTES,
    maxFrameBytes: DEFAULT_MAX_FRAME_BYTES,
  };
  /**
   * What the peer has set and nghttp2 has not acknowledged yet. It counts from there, as for a peer that is nghttp2: more
   * before it would be too much. As many as nghttp2 lets wait.
   */
  #unacknowledged: PeerSettings[] = [];
  /** Streams have no window any more to begin with, and nghttp2 is to be told of some: see {@link LanedSocket.laneOf}. */
  #windowsAreTaken = false;
  readonly #lanes = new Map<number, Lane>();
  #ready: Lane[] = [];
  #flushIsDue = false;
  #loanIsDue = false;
  /** The highest stream that was given more window and had no lane: what it has is not known here. */
  #creditedStreamId = 0;

  /** The socket is paused, with the client's preface still to be read. */
  constructor(socket: Socket) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    this.#incoming = new PassingFrames(
      { onHead: (head) => this.#onPeersHead(head), onWhole: (head, frame) => this.#onPeersFrame(head, frame) },
      H2_PREFACE.length,
    );
    this.#outgoing = new PassingFrames({
      onHead: (head) => this.#onOurHead(head),
      onWhole: () => true,
    });
    socket.on('data', (chunk: Buffer) => {
      this.#incoming.push(chunk, this.#deliver);
      if (this.#windowsAreTaken) this.#giveForEnds();
      this.#lend();
    });
    socket.on('end', () => this.push(null));
    socket.on('drain', () => this.#flushSoon());
    socket.on('close', () => this.destroy());
  }

  /**
   * A lane for the DATA of a stream, whose headers must not have been sent, and whose body must not be written in any other
   * way. Undefined: it has to go through nghttp2.
   *
   * nghttp2 holds the end of a stream back while it knows of no window for it, though that takes none. It knows of what
   * streams begin with, and never hears of what is given to lanes: where they begin with nothing it is told of a byte.
   */
  laneOf(stream: ServerHttp2Stream): Lane | undefined {
    const { id } = stream;
    if (id === undefined || id <= this.#creditedStreamId) return undefined;
    if (stream.headersSent || stream.closed || stream.destroyed) return undefined;
    if (this.#latestSettings.initialWindowBytes === 0) {
      if (!this.#incoming.atBoundary) return undefined;
      this.#deliver(windowUpdate(id, 1));
    }
    const lane = new Lane(this, id, this.#peer.initialWindowBytes);
    this.#lanes.set(id, lane);
    return lane;
  }

  /** The stream is over: also where no frame has said so here, as its client had reset it before it had a lane. */
  forget(streamId: number): void {
    const lane = this.#lanes.get(streamId);
    if (lane === undefined) return;
    lane.close();
    this.#lanes.delete(streamId);
    // While nothing may be sent nobody else takes it out.
    if (lane.isReady) this.#ready = this.#ready.filter((other) => other !== lane);
  }

  ready(lane: Lane): void {
    if (lane.isReady) return;
    lane.isReady = true;
    this.#ready.push(lane);
    this.#flushSoon();
  }

  override _read(): void {
    this.#socket.resume();
  }

  /** Of one chunk as well: a stream without a write of its own asks this. */
  override _writev(chunks: readonly { chunk: Buffer }[], done: () => void): void {
    this.#send(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    for (const lane of this.#lanes.values()) lane.close();
    this.#ready = [];
    done(error);
  }

  readonly #deliver = (piece: Buffer): void => {
    if (!this.push(piece)) this.#socket.pause();
  };

  #send(chunks: readonly Buffer[], done: () => void): void {
    const socket = this.#socket;
    let takesMore = true;
    const pass = (piece: Buffer) => {
      takesMore = socket.write(piece);
    };
    socket.cork();
    for (const chunk of chunks) this.#outgoing.push(chunk, pass);
    socket.uncork();
    if (this.#ready.length > 0) this.#flushSoon();
    if (takesMore || socket.destroyed) done();
    else this.#whenTaken(done);
  }

  #whenTaken(done: () => void): void {
    const socket = this.#socket;
    const settle = () => {
      socket.off('drain', settle);
      socket.off('close', settle);
      done();
    };
    socket.on('drain', settle);
    socket.on('close', settle);
  }

  #onPeersHead({ type, lengthBytes, streamId, flags }: FrameHead): 'pass' | 'whole' {
    if (type === FrameType.windowUpdate && lengthBytes === 4) return 'whole';
    if (type === FrameType.settings && (flags & FrameFlag.ack) === 0 && lengthBytes <= DEFAULT_MAX_FRAME_BYTES) {
      return 'whole';
    }
    if (type === FrameType.rstStream) this.forget(streamId);
    return 'pass';
  }

  #onPeersFrame({ type, streamId }: FrameHead, frame: Buffer): boolean {
    if (type === FrameType.settings) {
      this.#onSettings(frame);
      return true;
    }
    const bytes = frame.readUInt32BE(FRAME_HEAD_BYTES) & MAX_WINDOW_BYTES;
    // An error, which nghttp2 answers.
    if (bytes === 0) return true;
    return streamId === 0 ? this.#onConnectionCredit(bytes, frame) : this.#onStreamCredit(streamId, bytes);
  }

  get #latestSettings(): PeerSettings {
    return this.#unacknowledged.at(-1) ?? this.#peer;
  }

  #onSettings(frame: Buffer): void {
    const settings = { ...this.#latestSettings };
    readSettings(frame, settings);
    this.#unacknowledged.push(settings);
    if (settings.initialWindowBytes === 0) this.#windowsAreTaken = true;
  }

  #onOurAcknowledgement(): void {
    const settings = this.#unacknowledged.shift();
    if (settings === undefined) return;
    const change = settings.initialWindowBytes - this.#peer.initialWindowBytes;
    this.#peer.initialWindowBytes = settings.initialWindowBytes;
    this.#peer.maxFrameBytes = settings.maxFrameBytes;
    if (change === 0) return;
    for (const lane of this.#lanes.values()) this.#checkWindow(lane.credit(change));
  }

  /** A byte for each lane, that nghttp2 never sends: see {@link LanedSocket.laneOf}. */
  #giveForEnds(): void {
    if (this.destroyed || !this.#incoming.atBoundary) return;
    this.#windowsAreTaken = false;
    for (const streamId of this.#lanes.keys()) this.#deliver(windowUpdate(streamId, 1));
  }

  #onConnectionCredit(bytes: number, frame: Buffer): boolean {
    const forSession = this.#window.credit(bytes);
    this.#checkWindow(this.#window.lanesBytes);
    if (this.#ready.length > 0) this.#flushSoon();
    frame.writeUInt32BE(forSession, FRAME_HEAD_BYTES);
    return forSession > 0;
  }

  #onStreamCredit(streamId: number, bytes: number): boolean {
    const lane = this.#lanes.get(streamId);
    if (lane === undefined) {
      this.#creditedStreamId = Math.max(this.#creditedStreamId, streamId);
      return true;
    }
    this.#checkWindow(lane.credit(bytes));
    return false;
  }

  /** Who gives more than there can be has made an error (RFC 9113 section 6.9.1). */
  #checkWindow(bytes: number): void {
    if (bytes > MAX_WINDOW_BYTES) this.destroy();
  }

  #onOurHead({ type, flags, streamId, lengthBytes }: FrameHead): 'pass' {
    if (type === FrameType.headers) this.#lanes.get(streamId)?.open();
    if (type === FrameType.settings && (flags & FrameFlag.ack) !== 0) this.#onOurAcknowledgement();
    if (type === FrameType.data) this.#spendBySession(lengthBytes);
    const isLast = (type === FrameType.data || type === FrameType.headers) && (flags & FrameFlag.endStream) !== 0;
    if (isLast || type === FrameType.rstStream) this.forget(streamId);
    return 'pass';
  }

  #spendBySession(bytes: number): void {
    this.#window.spendBySession(bytes);
    if (this.#loanIsDue) return;
    this.#loanIsDue = true;
    // Not now: nghttp2 is in the middle of sending.
    setImmediate(() => {
      this.#loanIsDue = false;
      this.#lend();
    });
  }

  /** As if the peer had given it. In the middle of a frame it has to wait for the frame's end. */
  #lend(): void {
    if (this.destroyed || this.#socket.readableEnded || !this.#incoming.atBoundary) return;
    const bytes = this.#window.lend();
    if (bytes > 0) this.#deliver(windowUpdate(0, bytes));
  }

  #flushSoon(): void {
    if (this.#flushIsDue) return;
    this.#flushIsDue = true;
    setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#flushIsDue = false;
    while (this.#canFlush()) {
      const { lanes, bytes } = this.#plan();
      if (bytes === 0) return;
      this.#write(lanes, bytes);
      for (const lane of lanes) lane.settle();
    }
  };

  /** If it can't, it goes on by itself later: with the rest of the frame, with `drain`, with more window. */
  #canFlush(): boolean {
    if (this.destroyed || this.#ready.length === 0 || !this.#outgoing.atBoundary) return false;
    const isFull = this.#socket.writableNeedDrain && this.#socket.writableLength > 0;
    return !isFull && this.#window.lanesBytes > 0;
  }

  #write(lanes: readonly Lane[], bytes: number): void {
    // What waits behind something else is held as long as that: it gets no more memory than it needs.
    const isBehind = this.#socket.writableLength > 0;
    const out = isBehind ? Buffer.allocUnsafe(bytes) : flushing;
    let at = 0;
    for (const lane of lanes) at = lane.fill(out, at, this.#peer.maxFrameBytes);
    this.#socket.write(out.subarray(0, bytes));
    // What the socket holds on to is its own.
    if (!isBehind && this.#socket.writableLength > 0) flushing = Buffer.allocUnsafeSlow(FLUSH_BYTES);
  }

  /** Who is to send, and what that takes. Whom the connection's window or the room holds back stays ready. */
  #plan(): { readonly lanes: readonly Lane[]; readonly bytes: number } {
    const ready = this.#ready;
    const lanes: Lane[] = [];
    let framed = 0;
    let next = 0;
    for (; next < ready.length; next++) {
      const lane = ready[next] as Lane;
      const room = unframedBytes(FLUSH_BYTES - framed, this.#peer.maxFrameBytes);
      const bytes = lane.plan(Math.min(room, this.#window.lanesBytes));
      if (bytes > 0) {
        this.#window.spendByLanes(bytes);
        lanes.push(lane);
        framed += framedBytes(bytes, this.#peer.maxFrameBytes);
      }
      if (bytes < lane.sendableBytes) break;
      lane.isReady = false;
    }
    this.#ready = next === ready.length ? [] : ready.slice(next);
    return { lanes, bytes: framed };
  }
}
