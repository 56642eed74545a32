import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { H2_PREFACE } from '../first-bytes.ts';
import {
  DEFAULT_MAX_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  encodeFrame,
  FRAME_HEAD_BYTES,
  FrameFlag,
  FrameType,
  type PeerSettings,
  readHead,
  SettingId,
  windowUpdate,
} from './frames.ts';
import { cleanWith, GET_HEADERS, type Port } from './lanes-testing.ts';

interface Stream {
  windowBytes: number;
  hasHeaders: boolean;
  isOver: boolean;
  /** By this client: what comes after it was under way. */
  isReset: boolean;
  readonly chunks: Buffer[];
}

/** A connection window that asks for lanes. */
const CONNECTION_BYTES = 2 ** 26;

/**
 * A client that counts every byte as strictly as HTTP/2 lets it, and gives window when it is told to: what it has changed
 * counts from its acknowledgement, as nghttp2 has it.
 */
export class StrictClient {
  readonly socket: Socket;
  /** What the server has done that it may not. */
  readonly faults: string[] = [];
  readonly streams = new Map<number, Stream>();
  readonly #peer: PeerSettings = { initialWindowBytes: DEFAULT_WINDOW_BYTES, maxFrameBytes: DEFAULT_MAX_FRAME_BYTES };
  /** Sent and not acknowledged. */
  readonly #settings: Partial<PeerSettings>[] = [];
  #windowBytes = DEFAULT_WINDOW_BYTES;
  #held = Buffer.alloc(0);
  #nextId = 1;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  static async connect({ listening }: Port, first: Partial<PeerSettings> = {}): Promise<StrictClient> {
    const socket = connect(listening.port, '127.0.0.1');
    cleanWith(() => socket.destroy());
    const client = new StrictClient(socket);
    await once(socket, 'connect');
    socket.cork();
    socket.write(H2_PREFACE);
    client.set(first);
    client.give(0, CONNECTION_BYTES);
    socket.uncork();
    return client;
  }

  /** @returns the stream's id */
  get(): number {
    const id = this.#nextId;
    this.#nextId += 2;
    this.streams.set(id, {
      windowBytes: this.#peer.initialWindowBytes,
      hasHeaders: false,
      isOver: false,
      isReset: false,
      chunks: [],
    });
    const flags = FrameFlag.endHeaders | FrameFlag.endStream;
    this.socket.write(encodeFrame(FrameType.headers, flags, id, Buffer.from(GET_HEADERS['/'], 'hex')));
    return id;
  }

  set(settings: Partial<PeerSettings>): void {
    this.#settings.push(settings);
    const { initialWindowBytes, maxFrameBytes } = settings;
    const entries = [
      ...(initialWindowBytes === undefined ? [] : [entry(SettingId.initialWindowSize, initialWindowBytes)]),
      ...(maxFrameBytes === undefined ? [] : [entry(SettingId.maxFrameSize, maxFrameBytes)]),
    ];
    this.socket.write(encodeFrame(FrameType.settings, 0, 0, Buffer.concat(entries)));
  }

  /** More window: of a stream, or of the connection. */
  give(streamId: number, bytes: number): void {
    if (streamId === 0) this.#windowBytes += bytes;
    else this.#stream(streamId).windowBytes += bytes;
    this.socket.write(windowUpdate(streamId, bytes));
  }

  reset(streamId: number): void {
    this.#stream(streamId).isReset = true;
    this.socket.write(encodeFrame(FrameType.rstStream, 0, streamId, Buffer.from('00000008', 'hex')));
  }

  ping(): void {
    this.socket.write(encodeFrame(FrameType.ping, 0, 0, Buffer.alloc(8)));
  }

  /** Settings that were sent and not acknowledged. */
  get unacknowledged(): number {
    return this.#settings.length;
  }

  bodyOf(streamId: number): Buffer {
    return Buffer.concat(this.#stream(streamId).chunks);
  }

  #stream(streamId: number): Stream {
    const stream = this.streams.get(streamId);
    if (stream === undefined) throw new Error(`no stream ${streamId}`);
    return stream;
  }

  #take(chunk: Buffer): void {
    let bytes = Buffer.concat([this.#held, chunk]);
    while (bytes.length >= FRAME_HEAD_BYTES) {
      const end = FRAME_HEAD_BYTES + readHead(bytes, 0).lengthBytes;
      if (bytes.length < end) break;
      this.#frame(bytes.subarray(0, end));
      bytes = bytes.subarray(end);
    }
    this.#held = bytes;
  }

  #frame(frame: Buffer): void {
    const { type, flags, streamId, lengthBytes } = readHead(frame, 0);
    if (lengthBytes > this.#peer.maxFrameBytes) this.faults.push(`a frame of ${lengthBytes}`);
    if (type === FrameType.settings) {
      if ((flags & FrameFlag.ack) === 0)
        this.socket.write(encodeFrame(FrameType.settings, FrameFlag.ack, 0, Buffer.alloc(0)));
      else this.#acknowledged();
    } else if (type === FrameType.headers) {
      const stream = this.#stream(streamId);
      if (stream.isOver) this.faults.push(`headers of ${streamId} after its end`);
      stream.hasHeaders = true;
      if ((flags & FrameFlag.endStream) !== 0) stream.isOver = true;
    } else if (type === FrameType.data) {
      this.#data(streamId, flags, frame.subarray(FRAME_HEAD_BYTES));
    } else if (type === FrameType.rstStream || type === 0x7) {
      this.faults.push(`a frame of type ${type}`);
    }
  }

  #acknowledged(): void {
    const { initialWindowBytes, maxFrameBytes } = this.#settings.shift() ?? {};
    if (maxFrameBytes !== undefined) this.#peer.maxFrameBytes = maxFrameBytes;
    if (initialWindowBytes === undefined) return;
    const change = initialWindowBytes - this.#peer.initialWindowBytes;
    this.#peer.initialWindowBytes = initialWindowBytes;
    for (const stream of this.streams.values()) stream.windowBytes += change;
  }

  #data(streamId: number, flags: number, data: Buffer): void {
    const stream = this.#stream(streamId);
    this.#windowBytes -= data.length;
    stream.windowBytes -= data.length;
    if (!stream.hasHeaders) this.faults.push(`data of ${streamId} before its headers`);
    if (this.#windowBytes < 0) this.faults.push(`${-this.#windowBytes} more than the connection's window`);
    if (stream.windowBytes < 0 && data.length > 0) {
      this.faults.push(`${-stream.windowBytes} more than the window of ${streamId}`);
    }
    if (stream.isOver) this.faults.push(`data of ${streamId} after its end`);
    if (stream.isReset) return;
    stream.chunks.push(data);
    if ((flags & FrameFlag.endStream) !== 0) stream.isOver = true;
  }
}

function entry(id: number, value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id);
  bytes.writeUInt32BE(value, 2);
  return bytes;
}
