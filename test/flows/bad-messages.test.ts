import { gzipSync } from 'node:zlib';
import { toBinary } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Phase, type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { type ControlStream, startControlStream } from '../support/control-stream.ts';
import { dataOf, listen } from '../support/events.ts';
import { ask, type RawAnswer } from '../support/raw-request.ts';
import { exchange } from '../support/raw-socket.ts';
import { eventsUrl, message, messageOfSize, publish, type Story, startStory, startStream } from '../support/story.ts';

// Whatever a publisher or a listener sends gets its own clear answer, and others notice nothing: an ordinary stream goes
// on beside every test.
let story: Story;
let control: ControlStream;
let channelId: string;

beforeAll(async () => {
  story = await startStory();
  control = await startControlStream(story);
});
beforeEach(() => {
  channelId = crypto.randomUUID();
});
afterEach(() => control.check());
afterAll(async () => {
  await control?.end();
  await story?.stop();
});

/** As Conduit's publishers send, bytes of any kind. */
function postBytes(body: Uint8Array, direct = false): Promise<RawAnswer> {
  return ask(`${direct ? story.directUrl : story.url}/publish/1/${channelId}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${story.development.publish_token}` },
    body,
  });
}

/** As connect-web sends, bytes of any kind. */
async function callBytes(body: Uint8Array, headers: Record<string, string> = {}) {
  const { status, text } = await ask(`${story.url}/tideway.stream.v1.PublishService/Publish`, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${story.development.publish_token}`,
      'Content-Type': 'application/proto',
      'Connect-Protocol-Version': '1',
      ...headers,
    },
    body,
  });
  return { status, json: status === 200 ? {} : JSON.parse(text) };
}

const bytesOf = (made: PublishRequest) => toBinary(PublishRequestSchema, made);

/** A message whose payload has so many objects in each other, which no library would encode. */
function nested(levels: number): Uint8Array {
  const field = (tag: number, content: Buffer) => {
    const length: number[] = [];
    for (let rest = content.length; ; rest >>= 7) {
      length.push(rest > 127 ? (rest & 127) | 128 : rest);
      if (rest <= 127) break;
    }
    return Buffer.concat([Buffer.from([tag, ...length]), content]);
  };
  let struct = Buffer.alloc(0);
  for (let level = 1; level < levels; level++) {
    const value = field(0x12, field(0x2a, struct));
    struct = field(0x0a, Buffer.concat([field(0x0a, Buffer.from('a')), value]));
  }
  return Buffer.concat([bytesOf(message({ channelId })), field(0x32, struct)]);
}

describe('a message with a field that is wrong', () => {
  test.for<[what: string, field: string, problem: string, wrong: Partial<PublishRequest>]>([
    ['no channel', 'channel_id', 'value is empty', { channelId: '' }],
    ['a channel that is no UUID', 'channel_id', 'must be a valid UUID', { channelId: 'general' }],
    ['line breaks in the channel', 'channel_id', 'must be a valid UUID', { channelId: `${crypto.randomUUID()}\r\n` }],
    ['no id', 'message_id', 'value is empty', { messageId: '' }],
    ['line breaks in the id', 'message_id', 'must be a valid UUID', { messageId: 'a\r\ndata: x\r\n\r\n' }],
    ['no phase', 'phase', 'must', { phase: Phase.UNSPECIFIED }],
    ['a phase that there is not', 'phase', 'defined', { phase: 77 as Phase }],
    ['a number that is none', 'payload', 'numbers must be finite', { payload: { n: Number.NaN } }],
    ['an infinite number', 'payload', 'numbers must be finite', { payload: { list: [1, [-Infinity]] } }],
  ])('is told so: %s', async ([, field, problem, wrong]) => {
    const made = Object.assign(message({ channelId }), wrong);
    for (const direct of [false, true]) {
      const answer = await postBytes(bytesOf(made), direct);
      expect([answer.status, answer.text]).toEqual([400, expect.stringMatching(`^${field}: .*${problem}`)]);
    }
    const { status, json } = await callBytes(bytesOf(made));
    expect([status, json.code, json.message]).toEqual([
      400,
      'invalid_argument',
      expect.stringMatching(`^${field}: .*${problem}`),
    ]);
    expect(json.details[0].debug.fieldViolations).toMatchObject([{ field }]);
  });

  test('is told of all of them at once', async () => {
    const answer = await postBytes(new Uint8Array());
    for (const field of ['channel_id', 'message_id', 'phase']) expect(answer.text).toContain(`${field}: `);
  });
});

describe('a payload', () => {
  test('of 32 levels is the deepest, and 3,000 hurt nobody', async () => {
    expect((await postBytes(nested(32))).status).toBe(200);
    for (const levels of [33, 99, 101, 1_000]) {
      const answer = await postBytes(nested(levels));
      expect([levels, answer.status, answer.text]).toEqual([
        levels,
        400,
        expect.stringMatching(/^payload: must be at most 32 levels deep$|^Invalid protobuf$/),
      ]);
    }
    // What can't be decoded is INTERNAL on RPCs: connect-es has it so, as gRPC has in other languages.
    const call = await callBytes(nested(3_000));
    expect(call.json).toMatchObject({ code: 'internal', message: expect.stringMatching(/^parse binary: /) });
    const json = await ask(`${story.url}/v1/messages:publish`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${story.development.publish_token}` },
      body: `{"payload":${'{"a":'.repeat(3_000)}1${'}'.repeat(3_000)}}`,
    });
    expect([json.status, JSON.parse(json.text).code]).toEqual([400, 3]);
  });

  test('may have any key and any text, and arrives as it is', async () => {
    const access = await startStream(story.url, { channel_id: channelId });
    const text =
      '{"__proto__":{"polluted":true},"constructor":{"prototype":null},"toString":1,"":"","\\u0000":"\\u2028\\ud83c\\udf0a"}';
    await publish(story.url, story.development.publish_token, message({ channelId, payload: JSON.parse(text) }));
    await publish(story.url, story.development.publish_token, message({ channelId, phase: Phase.END }));
    const heard = await listen(eventsUrl(access));
    const [first] = dataOf((await heard.ended()).slice(1));
    expect(JSON.stringify(first.payload)).toBe(JSON.stringify(JSON.parse(text)));
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('may end no line of an event stream', async () => {
    const access = await startStream(story.url, { channel_id: channelId });
    const nasty = 'a\r\n\r\nevent: control\r\ndata: {}\n\nid: 1-1\n\n';
    const payload = { [nasty]: nasty };
    await publish(story.url, story.development.publish_token, message({ channelId, payload }));
    await publish(story.url, story.development.publish_token, message({ channelId, phase: Phase.END }));
    const events = await (await listen(eventsUrl(access))).ended();
    expect(events.map(({ event }) => event)).toEqual([undefined, 'stream', 'stream']);
    expect(dataOf(events)[0].payload).toEqual(payload);
  });
});

test('a sequence of 2^64 - 1 arrives with all its digits', async () => {
  const access = await startStream(story.url, { channel_id: channelId });
  const sequence = 18446744073709551615n;
  await publish(story.url, story.development.publish_token, message({ channelId, sequence, phase: Phase.END }));
  const heard = await listen(eventsUrl(access));
  await heard.ended();
  expect(heard.text()).toContain(',"sequence":18446744073709551615,');
});

test('a message that is cut off anywhere is never taken for another', async () => {
  const whole = bytesOf(message({ channelId, sequence: 300, payload: { text: 'hello', list: [1, true, null] } }));
  for (let length = 0; length < whole.length; length++) {
    const answer = await postBytes(whole.subarray(0, length), length % 2 === 0);
    // Where it ends between two fields it is a message, of which something else is missing or nothing at all.
    const isWhole = answer.status === 200;
    if (!isWhole) expect([answer.status, answer.text]).toEqual([400, expect.stringMatching(/^Invalid protobuf$|: /)]);
    if (isWhole) expect([0x28, 0x32, 0x38]).toContain(whole[length]);
  }
});

describe('too much', () => {
  test('is refused at the limit, by every way in', async () => {
    const large = messageOfSize(channelId, 16_385);
    expect((await postBytes(large)).status).toBe(413);
    expect((await postBytes(large, true)).status).toBe(413);
    const call = await callBytes(bytesOf(message({ channelId, payload: { text: 'x'.repeat(16_400) } })));
    expect([call.status, call.json.code]).toEqual([429, 'resource_exhausted']);
    expect(call.json.message).toMatch(/^Message size \d+ exceeds maximum of 16384 bytes$/);
  });

  test('is refused before it has all arrived', async () => {
    for (const port of [story.edge.port, story.monolith.port]) {
      const head = (length: string) =>
        `POST /publish/1/${channelId} HTTP/1.1\r\nHost: x\r\n${length}\r\n` +
        `Authorization: Bearer ${story.development.publish_token}\r\nConnection: close\r\n\r\n`;
      const declared = await exchange(port, `${head('Content-Length: 5000000000')}${'x'.repeat(1_100_000)}`);
      expect(declared === '' || declared.startsWith('HTTP/1.1 413 ')).toBe(true);
      const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`;
      const chunked = await exchange(port, head('Transfer-Encoding: chunked') + chunk.repeat(40));
      expect(chunked === '' || chunked.startsWith('HTTP/1.1 413 ')).toBe(true);
    }
  });

  test('of nobody is not even looked at: first of all it is asked who sends it', async () => {
    for (const body of [Buffer.from([255]), gzipSync(Buffer.alloc(64 * 1024 * 1024)), new Uint8Array(200_000)]) {
      const call = await callBytes(body, { 'Content-Encoding': 'gzip', Authorization: 'Bearer nonsense' });
      expect([call.status, call.json.code, call.json.message]).toEqual([
        401,
        'unauthenticated',
        'Token validation failed',
      ]);
    }
  });

  test('is refused where it only unfolds', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    const call = await callBytes(bomb, { 'Content-Encoding': 'gzip' });
    expect([call.status, call.json.code]).toEqual([429, 'resource_exhausted']);
  });
});
