import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type FrameHead, FrameType } from './frames.ts';
import { PassingFrames } from './passing-frames.ts';

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Uint8Array;
}

const frames = fc.array(
  fc.record({
    type: fc.constantFrom(FrameType.data, FrameType.headers, FrameType.windowUpdate, FrameType.settings, 0x77),
    flags: fc.constantFrom(0, 1, 4, 5),
    streamId: fc.nat(2 ** 31 - 1),
    payload: fc.uint8Array({ maxLength: 40 }),
  }),
  { maxLength: 8 },
);

function encode({ type, flags, streamId, payload }: Frame): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  // The highest bit is reserved, and ignored.
  head.writeUInt32BE((streamId | 0x8000_0000) >>> 0, 5);
  return Buffer.concat([head, payload]);
}

/** The bytes in pieces that end wherever. */
function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const ends = [...at.map((n) => n % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, n) => Buffer.from(bytes.subarray(ends[n - 1] ?? 0, end)));
}

test('in whatever pieces they come, every frame is seen once, and all goes on but what is held back', () => {
  fc.assert(
    fc.property(
      frames,
      fc.uint8Array({ maxLength: 24 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (sent, preface, at) => {
        const heads: FrameHead[] = [];
        const wholes: Buffer[] = [];
        const passing = new PassingFrames(
          {
            onHead(head) {
              const isWhole = head.type === FrameType.windowUpdate || head.type === FrameType.settings;
              if (!isWhole) heads.push(head);
              return isWhole ? 'whole' : 'pass';
            },
            onWhole(head, frame) {
              heads.push(head);
              wholes.push(Buffer.from(frame));
              return head.type !== FrameType.windowUpdate;
            },
          },
          preface.length,
        );
        const passed: Buffer[] = [];
        const all = Buffer.concat([preface, ...sent.map(encode)]);
        for (const piece of cut(all, at)) passing.push(piece, (bytes) => passed.push(Buffer.from(bytes)));

        expect(heads).toEqual(
          sent.map(({ type, flags, streamId, payload }) => ({ type, flags, streamId, lengthBytes: payload.length })),
        );
        const held = (type: number) => type === FrameType.windowUpdate;
        const whole = (type: number) => held(type) || type === FrameType.settings;
        expect(wholes).toEqual(sent.filter(({ type }) => whole(type)).map(encode));
        expect(Buffer.concat(passed)).toEqual(
          Buffer.concat([preface, ...sent.filter(({ type }) => !held(type)).map(encode)]),
        );
      },
    ),
  );
});

test('another frame may be put between two, and not in one, nor in a block of headers', () => {
  const passing = new PassingFrames({ onHead: () => 'pass', onWhole: () => true });
  const push = (bytes: Buffer) => {
    passing.push(bytes, () => {});
    return passing.atBoundary;
  };
  const data = encode({ type: FrameType.data, flags: 0, streamId: 1, payload: Buffer.from('data') });
  const headers = (type: number, flags: number) => encode({ type, flags, streamId: 1, payload: Buffer.from('h') });

  expect(passing.atBoundary).toBe(true);
  expect(push(data)).toBe(true);
  expect(push(data.subarray(0, 4))).toBe(false);
  expect(push(data.subarray(4, 11))).toBe(false);
  expect(push(data.subarray(11))).toBe(true);
  expect(push(headers(FrameType.headers, 0))).toBe(false);
  expect(push(headers(FrameType.continuation, 0))).toBe(false);
  expect(push(headers(FrameType.continuation, 4))).toBe(true);
  expect(push(headers(FrameType.headers, 4))).toBe(true);
});
