import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { H2_PREFACE } from '#lib/server/first-bytes.ts';
import {
  DEFAULT_WINDOW_BYTES,
  encodeFrame,
  FRAME_HEAD_BYTES,
  FrameFlag,
  FrameType,
  MAX_WINDOW_BYTES,
  SettingId,
  windowUpdate,
} from '#lib/server/h2-lanes/frames.ts';
import type { Place } from './jobs.ts';

/** As large as a client of gRPC makes its own. With more a server of ours would take this for a proxy, and use lanes. */
const OUR_WINDOW_BYTES = 16 * 1024 * 1024;

export interface RawStream {
  /** A part of what arrives, valid during the call only. */
  onData(part: Buffer): void;
  /** Its headers have arrived: the first, and trailers. */
  onHeaders(): void;
  onEnd(): void;
}

/**
 * As much of a client of HTTP/2 as listening and publishing take, at a fraction of what node:http2 would take from the
 * processor that the server needs: it opens streams, hands on the content of DATA frames, and keeps to the server's windows
 * in what it sends. Its streams' own windows are so large that they are never updated. It understands no response headers.
 */
export class RawH2 {
  readonly #socket: Socket;
  readonly #streams = new Map<number, RawStream>();
  readonly #windows = new Map<number, number>();
  /** What the server's window holds back, by stream. */
  readonly #held = new Map<number, Buffer[]>();
  #connectionWindow = DEFAULT_WINDOW_BYTES;
  #streamWindow = DEFAULT_WINDOW_BYTES;
  #nextStreamId = 1;
  /** What the server was not told yet that it may send again. */
  #readBytes = 0;
  /** The frame that is being read: its head, and how much of it is to come. */
  readonly #head = Buffer.alloc(FRAME_HEAD_BYTES);
  #headBytes = 0;
  #remaining = 0;
  /** The content of frames that are not DATA. */
  #content: Buffer[] = [];

  private constructor({ host, port }: Place, buffer: Buffer) {
    this.#socket = connect({
      host,
      port,
      noDelay: true,
      onread: {
        buffer,
        callback: (length) => {
          this.#read(buffer.subarray(0, length));
          return true;
        },
      },
    });
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      for (const stream of this.#streams.values()) stream.onEnd();
      this.#streams.clear();
    });
  }

  /** `buffer` may be shared by all connections of the process: reading is one at a time. */
  static async connect(place: Place, buffer: Buffer): Promise<RawH2> {
    const connection = new RawH2(place, buffer);
    await once(connection.#socket, 'connect');
    const settings = Buffer.alloc(6);
    settings.writeUInt16BE(SettingId.initialWindowSize, 0);
    settings.writeUInt32BE(MAX_WINDOW_BYTES, 2);
    connection.#socket.write(
      Buffer.concat([
        H2_PREFACE,
        encodeFrame(FrameType.settings, 0, 0, settings),
        windowUpdate(0, OUR_WINDOW_BYTES - DEFAULT_WINDOW_BYTES),
      ]),
    );
    return connection;
  }

  /** Opens a stream; what is in `body` ends it, without one it stays open for {@link send}. */
  open(headers: Readonly<Record<string, string>>, body: Uint8Array | undefined, stream: RawStream): number {
    const id = this.#nextStreamId;
    this.#nextStreamId += 2;
    this.#streams.set(id, stream);
    this.#windows.set(id, this.#streamWindow);
    const flags = body?.length === 0 ? FrameFlag.endHeaders | FrameFlag.endStream : FrameFlag.endHeaders;
    const head = encodeFrame(FrameType.headers, flags, id, headerBlock(headers));
    this.#socket.write(
      body?.length ? Buffer.concat([head, encodeFrame(FrameType.data, FrameFlag.endStream, id, body)]) : head,
    );
    return id;
  }

  /** Each message is a DATA frame; together they are one write, as far as the server's windows let them. */
  send(id: number, messages: readonly Buffer[]): void {
    const held = this.#held.get(id);
    if (held !== undefined) {
      held.push(...messages);
      return;
    }
    this.#sendNow(id, messages);
  }

  #sendNow(id: number, messages: readonly Buffer[]): void {
    const frames: Buffer[] = [];
    let window = this.#windows.get(id) ?? 0;
    let sent = 0;
    for (const message of messages) {
      if (message.length > window || message.length > this.#connectionWindow) break;
      window -= message.length;
      this.#connectionWindow -= message.length;
      frames.push(encodeFrame(FrameType.data, 0, id, message));
      sent++;
    }
    this.#windows.set(id, window);
    if (frames.length > 0) this.#socket.write(Buffer.concat(frames));
    if (sent < messages.length) this.#held.set(id, messages.slice(sent));
  }

  #sendHeld(): void {
    for (const [id, messages] of [...this.#held]) {
      this.#held.delete(id);
      this.#sendNow(id, messages);
    }
  }

  #read(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#headBytes < FRAME_HEAD_BYTES) {
        const taken = chunk.copy(this.#head, this.#headBytes, at, at + FRAME_HEAD_BYTES - this.#headBytes);
        this.#headBytes += taken;
        at += taken;
        if (this.#headBytes < FRAME_HEAD_BYTES) return;
        this.#remaining = this.#head.readUIntBE(0, 3);
      }
      const part = chunk.subarray(at, at + this.#remaining);
      at += part.length;
      this.#remaining -= part.length;
      if (this.#head[3] === FrameType.data) this.#onData(part);
      // The buffer is used again for the next read.
      else if (part.length > 0) this.#content.push(Buffer.from(part));
      if (this.#remaining === 0) {
        this.#headBytes = 0;
        this.#frameEnds();
      }
    }
  }

  #onData(part: Buffer): void {
    this.#readBytes += part.length;
    if (this.#readBytes >= OUR_WINDOW_BYTES / 2) {
      this.#socket.write(windowUpdate(0, this.#readBytes));
      this.#readBytes = 0;
    }
    this.#streams.get(this.#streamId())?.onData(part);
  }

  #streamId(): number {
    return this.#head.readUInt32BE(5) & 0x7fff_ffff;
  }

  #frameEnds(): void {
    const type = this.#head[3];
    const flags = this.#head[4] ?? 0;
    const id = this.#streamId();
    const content =
      type === FrameType.data || this.#content.length === 0 ? Buffer.alloc(0) : Buffer.concat(this.#content);
    this.#content = [];
    if (type === FrameType.settings && (flags & FrameFlag.ack) === 0) this.#settings(content);
    else if (type === FrameType.ping && (flags & FrameFlag.ack) === 0)
      this.#socket.write(encodeFrame(FrameType.ping, FrameFlag.ack, 0, content));
    else if (type === FrameType.windowUpdate) this.#windowUpdate(id, content.readUInt32BE(0));
    else if (type === FrameType.headers) this.#streams.get(id)?.onHeaders();
    const ends = (type === FrameType.data || type === FrameType.headers) && (flags & FrameFlag.endStream) !== 0;
    if (ends || type === FrameType.rstStream) {
      this.#streams.get(id)?.onEnd();
      this.#streams.delete(id);
    }
  }

  #settings(content: Buffer): void {
    for (let at = 0; at < content.length; at += 6) {
      if (content.readUInt16BE(at) !== SettingId.initialWindowSize) continue;
      const size = content.readUInt32BE(at + 2);
      for (const [id, window] of this.#windows) this.#windows.set(id, window + size - this.#streamWindow);
      this.#streamWindow = size;
    }
    this.#socket.write(encodeFrame(FrameType.settings, FrameFlag.ack, 0, Buffer.alloc(0)));
    this.#sendHeld();
  }

  #windowUpdate(id: number, bytes: number): void {
    if (id === 0) this.#connectionWindow += bytes;
    else this.#windows.set(id, (this.#windows.get(id) ?? 0) + bytes);
    if (this.#held.size > 0) this.#sendHeld();
  }
}

/** HPACK in its plainest form: every field a literal that nobody remembers. */
function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(headers).flatMap(([name, value]) => [Buffer.of(0), literal(name), literal(value)]),
  );
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  const length: number[] = [];
  let rest = bytes.length;
  if (rest < 127) {
    length.push(rest);
  } else {
    length.push(127);
    for (rest -= 127; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}
