import { create, fromBinary, fromJsonString, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Message, Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { SubscribeManyResponseSchema, SubscribeResponseSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { type Broker, channelKey } from '#lib/broker/broker.ts';
import { parseEntryId } from '#lib/broker/entry-id.ts';
import { Follower } from '#lib/broker/follow.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { parseCompositeCursor } from './composite-cursor.ts';
import { Delivery, type Sink, type Wire } from './delivery.ts';
import { Listeners } from './listeners.ts';
import { ManyListener } from './many-listener.ts';
import { manyRpcFaces } from './many-rpc-wire.ts';
import { manySseFace } from './many-sse-wire.ts';
import type { ManyWire } from './many-wire.ts';
import { rpcFaces } from './rpc-face.ts';
import { sseFace } from './sse-face.ts';
import { together } from './together.ts';

// A stream that is cut anywhere, and resumed by the last cursor that came whole, is the same text byte by byte: a client
// drops what it has by message_id, and needs to know nothing else of coalescing.

const IDS = ['97f58c19-ce38-4c6b-8a5b-47f3405691f0', 'a46b7cf6-c4a9-4d7b-9a33-4fdc4c6b4f10'];
const KEYS = IDS.map((id) => channelKey(1n, id));
const WINDOW_MS = 50;

type Heard = Pick<Message, 'messageId' | 'channelId' | 'phase' | 'sequence' | 'payload'>;

/** What is in a part of a response: what came whole of it. */
interface Part {
  readonly message?: Heard | undefined;
  readonly cursor?: string | undefined;
}

interface Format {
  readonly name: string;
  join(cursor: string, sink: Bytes): Promise<'following' | 'at_end'>;
  read(bytes: Buffer): Part[];
  readonly channels: readonly string[];
}

const joinMany = (wire: ManyWire<Uint8Array>) => (cursor: string, sink: Bytes) => {
  const channels = KEYS.map((key, n) => ({ key, id: IDS[n] ?? '' }));
  const cursors = parseCompositeCursor(cursor, KEYS);
  if (cursors === undefined) throw new Error('no cursor');
  return listeners.admit(
    { sink, wantsDrainNotice: () => false },
    (given) => new ManyListener({ ...given, wire, channels, cursors }),
  );
};

const joinOne = (wire: Wire<Uint8Array>) => (text: string, sink: Bytes) => {
  const [channel = KEYS[0]] = KEYS;
  const cursor = text === '' ? undefined : parseEntryId(text);
  return listeners.join({ channel: channel as never, cursor, wire, sink, wantsDrainNotice: () => false });
};

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('there is none');
  return value;
}

function readEvents(bytes: Buffer): Part[] {
  const blocks = bytes.toString('utf8').split('\n\n').slice(0, -1);
  return blocks.map((block) => {
    const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
    if (fields['event'] !== 'stream') return { cursor: fields['id'] };
    const data = JSON.parse(fields['data']);
    return {
      cursor: fields['id'],
      message: {
        messageId: data.message_id,
        channelId: data.channel_id,
        phase: Phase[data.phase.replace('PHASE_', '') as keyof typeof Phase],
        sequence: BigInt(data.sequence),
        payload: data.payload ?? undefined,
      },
    };
  });
}

const readFrames = (decode: (data: Buffer) => Part) => (bytes: Buffer) => {
  const parts: Part[] = [];
  for (let at = 0; at + 5 <= bytes.byteLength; ) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    if (end > bytes.byteLength) break;
    parts.push(decode(bytes.subarray(at + 5, end)));
    at = end;
  }
  return parts;
};

type OneOf = { case?: string | undefined; value?: unknown };
const messageOf = (event: OneOf) => (event.case === 'message' ? (event.value as Message) : undefined);

const manyJson = readFrames((data) => {
  const { event, cursor } = fromJsonString(SubscribeManyResponseSchema, data.toString());
  return { message: messageOf(event), cursor };
});
const manyBinary = readFrames((data) => {
  const { event, cursor } = fromBinary(SubscribeManyResponseSchema, data);
  return { message: messageOf(event), cursor };
});
const oneJson = readFrames((data) => {
  const { event, id } = fromJsonString(SubscribeResponseSchema, data.toString());
  return { message: messageOf(event), cursor: id || undefined };
});
const oneBinary = readFrames((data) => {
  const { event, id } = fromBinary(SubscribeResponseSchema, data);
  return { message: messageOf(event), cursor: id || undefined };
});
const wireOf = <W>(faces: ReadonlyMap<string, { readonly wire: W }>, contentType: string) =>
  required(faces.get(contentType)).wire;

const FORMATS: readonly Format[] = [
  { name: 'SSE, several', join: joinMany(manySseFace.wire), read: readEvents, channels: IDS },
  {
    name: 'JSON, several',
    join: joinMany(wireOf(manyRpcFaces, 'application/connect+json')),
    read: manyJson,
    channels: IDS,
  },
  {
    name: 'binary, several',
    join: joinMany(wireOf(manyRpcFaces, 'application/grpc')),
    read: manyBinary,
    channels: IDS,
  },
  { name: 'SSE', join: joinOne(sseFace.wire), read: readEvents, channels: IDS.slice(0, 1) },
  {
    name: 'JSON',
    join: joinOne(wireOf(rpcFaces, 'application/connect+json')),
    read: oneJson,
    channels: IDS.slice(0, 1),
  },
  { name: 'binary', join: joinOne(wireOf(rpcFaces, 'application/grpc')), read: oneBinary, channels: IDS.slice(0, 1) },
];

class Bytes implements Sink<Uint8Array> {
  onDrain = () => {};
  onGone = () => {};
  isGone = false;
  over: string | undefined;
  waitingBytes = 0;
  readonly written: Buffer[] = [];
  write(chunk: Uint8Array): boolean {
    this.written.push(Buffer.from(chunk));
    return true;
  }
  end(): void {
    this.over = 'ended';
  }
  fail(reason: string): void {
    this.over = reason;
  }
  get all(): Buffer {
    return Buffer.concat(this.written);
  }
}

/** A client, as Conduit's: it keeps ids that it has seen, and the last cursor. */
class Client {
  cursor = '';
  readonly said = new Map<string, string>();
  readonly #seen = new Set<string>();
  readonly #sequences = new Map<string, bigint>();

  take(parts: readonly Part[]): this {
    for (const { message, cursor } of parts) {
      if (cursor !== undefined) this.cursor = cursor;
      if (message === undefined || this.#seen.has(message.messageId)) continue;
      this.#seen.add(message.messageId);
      const last = this.#sequences.get(message.channelId) ?? -1n;
      if (message.sequence <= last) continue;
      this.#sequences.set(message.channelId, message.sequence);
      this.said.set(message.channelId, (this.said.get(message.channelId) ?? '') + saidBy(message));
    }
    return this;
  }

  get state(): string {
    return `${this.cursor} ${this.#seen.size}`;
  }
}

/** The same for `ab` as for `a` and `b`. */
function saidBy({ phase, payload }: Pick<Heard, 'phase' | 'payload'>): string {
  const [field, ...others] = Object.keys(payload ?? {});
  const value = payload?.[field ?? ''];
  if (phase !== Phase.DELTA || others.length > 0 || typeof value !== 'string')
    return `[${phase} ${JSON.stringify(payload)}]`;
  return [...value].map((letter) => (field === 'text' ? letter : `(${letter})`)).join('');
}

let broker: Broker;
let listeners: Listeners;
let follower: Follower<Delivery>;
let published: Map<string, string>;
let sequence: bigint;

function start(retain?: number): void {
  let nowMs = 1_700_000_000_000;
  broker = createMemoryBroker({
    now: () => nowMs++,
    ...(retain === undefined ? {} : { retention: { maxEntries: retain, minAgeMs: 0 } }),
  });
  follower = new Follower({
    broker,
    share: (entry) => new Delivery(entry),
    together,
    onError: (error) => {
      throw error;
    },
  });
  listeners = new Listeners({ follower, maxConnectionMs: 0, maxListeners: 1000 });
  published = new Map();
  sequence = 0n;
}

async function stop(): Promise<void> {
  listeners.close();
  await broker.close();
}

async function publish(channel: number, init: { phase?: Phase; payload?: object; coalesceWindowMs?: number }) {
  const { payload, ...more } = init;
  const channelId = IDS[channel] ?? '';
  const message = create(PublishRequestSchema, {
    channelId,
    messageId: crypto.randomUUID(),
    phase: Phase.DELTA,
    sequence: sequence++,
    ...more,
    ...(payload === undefined ? {} : { payload: payload as never }),
  });
  const stored = { ...message, data: toBinary(PublishRequestSchema, message) };
  const result = await broker.publish(KEYS[channel] as never, stored, { name: 'unary', perSec: 0 });
  if (result.kind !== 'stored') throw new Error(result.kind);
  published.set(channelId, (published.get(channelId) ?? '') + saidBy(message));
  return result.id;
}

async function listenTo(format: Format, cursor = ''): Promise<Bytes> {
  const sink = new Bytes();
  const joined = await format.join(cursor, sink);
  if (joined === 'at_end') sink.over = 'at_end';
  await vi.advanceTimersByTimeAsync(1);
  return sink;
}

const saidOf = (client: Client, format: Format) => format.channels.map((id) => client.said.get(id) ?? '');
const expected = (format: Format) => format.channels.map((id) => published.get(id) ?? '');

/** Cuts it everywhere, and comes back. */
async function resumeFromEveryCut(format: Format, bytes: Buffer): Promise<void> {
  const tried = new Set<string>();
  for (let cut = 0; cut <= bytes.byteLength; cut++) {
    const client = new Client().take(format.read(bytes.subarray(0, cut)));
    if (tried.has(client.state)) continue;
    tried.add(client.state);
    const rest = await listenTo(format, client.cursor);
    client.take(format.read(rest.all));
    expect(saidOf(client, format)).toEqual(expected(format));
    rest.onGone();
  }
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const texts = fc.string({ unit: 'grapheme', maxLength: 4 });
const steps = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ channel: fc.nat(1), payload: fc.record({ text: texts }) }) },
    { weight: 1, arbitrary: fc.record({ channel: fc.nat(1), payload: fc.record({ thought: texts }) }) },
    { weight: 1, arbitrary: fc.record({ channel: fc.nat(1), payload: fc.record({ text: texts, n: fc.nat() }) }) },
    { weight: 1, arbitrary: fc.record({ channel: fc.nat(1), phase: fc.constant(Phase.ERROR) }) },
    { weight: 3, arbitrary: fc.record({ waitMs: fc.constantFrom(1, 20, 60) }) },
  ) as fc.Arbitrary<{ channel: number; payload?: object; phase?: Phase } | { waitMs: number }>,
  { minLength: 5, maxLength: 40 },
);

describe.each(FORMATS)('$name', (format) => {
  test('cut at every position, and resumed', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.boolean(), fc.boolean(), async (all, both, ends) => {
        start();
        // The other channel coalesces, or does not.
        await publish(0, { phase: Phase.START, coalesceWindowMs: WINDOW_MS });
        await publish(1, { phase: Phase.START, ...(both ? { coalesceWindowMs: 20 } : {}) });
        const live = await listenTo(format);
        for (const step of all) {
          if ('waitMs' in step) await vi.advanceTimersByTimeAsync(step.waitMs);
          else await publish(step.channel, step);
        }
        if (ends) for (const channel of [0, 1]) await publish(channel, { phase: Phase.END });
        await vi.advanceTimersByTimeAsync(100);
        expect(saidOf(new Client().take(format.read(live.all)), format)).toEqual(expected(format));
        await resumeFromEveryCut(format, live.all);
        const late = await listenTo(format);
        await resumeFromEveryCut(format, late.all);
        await stop();
      }),
      { numRuns: 6 },
    );
  });

  test('who is sent away has what was due, and goes on from there', async () => {
    start();
    await publish(0, { phase: Phase.START, coalesceWindowMs: WINDOW_MS });
    const sink = await listenTo(format);
    for (const text of ['a', 'b', 'c']) {
      await publish(0, { payload: { text } });
      await vi.advanceTimersByTimeAsync(1);
    }
    const before = new Client().take(format.read(sink.all));
    expect(before.said.get(IDS[0] ?? '')).toMatch(/a$/);
    await listeners.drain(0);
    const client = new Client().take(format.read(sink.all));
    expect([saidOf(client, format), sink.over]).toEqual([expected(format), 'ended']);
    await stop();
  });
});

describe('several channels', () => {
  const [sse] = FORMATS;
  const lines = (bytes: Bytes) => bytes.all.toString().replaceAll(/"message_id":"[^"]*"/g, '"message_id":""');

  test('of which none coalesces have events without an id, as ever', async () => {
    start();
    const sink = await listenTo(required(sse));
    for (const text of ['a', 'b']) await publish(0, { payload: { text } });
    await vi.advanceTimersByTimeAsync(1);
    const blocks = lines(sink).split('\n\n');
    expect(blocks.filter((block) => block.includes('event:')).every((block) => !block.includes('\nid:'))).toBe(true);
    expect(blocks.at(-2)).toMatch(/^id: /);
    await stop();
  });

  test('text that coalesces ends with the cursor, and no other follows it', async () => {
    start();
    await publish(0, { phase: Phase.START, coalesceWindowMs: WINDOW_MS });
    const sink = await listenTo(required(sse));
    await publish(0, { payload: { text: 'a' } });
    await vi.advanceTimersByTimeAsync(1);
    expect(lines(sink)).toMatch(/event: stream\ndata: [^\n]*"payload":\{"text":"a"\}\}\nid: [A-Za-z0-9_-]{49}\n\n$/);
    await stop();
  });
});
