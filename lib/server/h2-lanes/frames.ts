/** What of HTTP/2's frames has to be known to send some beside nghttp2 (RFC 9113 sections 4.1, 6). */

export const FRAME_HEAD_BYTES = 9;
/** Of a frame's payload, until the peer allows more. */
export const DEFAULT_MAX_FRAME_BYTES = 16_384;
/** Of a connection and of each stream, until the peer gives more. */
export const DEFAULT_WINDOW_BYTES = 65_535;
/** A peer that gives more than this has made an error. */
export const MAX_WINDOW_BYTES = 2 ** 31 - 1;

export const FrameType = {
  data: 0x0,
  headers: 0x1,
  rstStream: 0x3,
  settings: 0x4,
  ping: 0x6,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const;

export const FrameFlag = { ack: 0x1, endStream: 0x1, endHeaders: 0x4 } as const;

export const SettingId = { initialWindowSize: 0x4, maxFrameSize: 0x5 } as const;
const SETTING_BYTES = 6;

export interface FrameHead {
  readonly lengthBytes: number;
  readonly type: number;
  readonly flags: number;
  /** 0: the connection. */
  readonly streamId: number;
}

export function readHead(bytes: Buffer, at: number): FrameHead {
  return {
    lengthBytes: bytes.readUIntBE(at, 3),
    type: bytes[at + 3] ?? 0,
    flags: bytes[at + 4] ?? 0,
    streamId: bytes.readUInt32BE(at + 5) & 0x7fff_ffff,
  };
}

/** Writes the head of a DATA frame without flags. */
export function writeDataHead(out: Buffer, at: number, lengthBytes: number, streamId: number): number {
  out[at] = lengthBytes >>> 16;
  out[at + 1] = lengthBytes >>> 8;
  out[at + 2] = lengthBytes;
  out[at + 3] = FrameType.data;
  out[at + 4] = 0;
  return out.writeUInt32BE(streamId, at + 5);
}

export function encodeFrame(type: number, flags: number, streamId: number, content: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEAD_BYTES + content.length);
  frame.writeUIntBE(content.length, 0, 3);
  frame[3] = type;
  frame[4] = flags;
  frame.writeUInt32BE(streamId, 5);
  frame.set(content, FRAME_HEAD_BYTES);
  return frame;
}

export function windowUpdate(streamId: number, bytes: number): Buffer {
  const content = Buffer.allocUnsafe(4);
  content.writeUInt32BE(bytes);
  return encodeFrame(FrameType.windowUpdate, 0, streamId, content);
}

export interface PeerSettings {
  initialWindowBytes: number;
  maxFrameBytes: number;
}

/** Notes what a SETTINGS frame says of the two. What is out of range is nghttp2's to refuse, which ends the connection. */
export function readSettings(frame: Buffer, into: PeerSettings): void {
  for (let at = FRAME_HEAD_BYTES; at + SETTING_BYTES <= frame.length; at += SETTING_BYTES) {
    const id = frame.readUInt16BE(at);
    const value = frame.readUInt32BE(at + 2);
    if (id === SettingId.initialWindowSize && value <= MAX_WINDOW_BYTES) into.initialWindowBytes = value;
    if (id === SettingId.maxFrameSize && value >= DEFAULT_MAX_FRAME_BYTES) into.maxFrameBytes = value;
  }
}
