import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { describe, expect, test } from 'vitest';
import { RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import {
  RateLimit_Scope,
  RelayService,
  type SendEnvelopesRequestSchema,
  type SendEnvelopesResponse,
} from '#gen/tideway/relay/v1/relay_service_pb.ts';
import type { ActiveLimit } from '#lib/limits/limits.ts';
import { until } from '../../test/support/until.ts';
import {
  connectionsAreRefused,
  EVENT_ID,
  KEY,
  QUEUED,
  RELAY_TOKEN,
  type ServiceUnderTest,
  startService,
} from './http-testing.ts';

type Sent = MessageInitShape<typeof SendEnvelopesRequestSchema>;

const EVENT = { type: 'event', payload: Buffer.from('{"message":"hello"}') };

function request(more: Sent = {}): Sent {
  const usual: Sent = { sequence: 1n, publicKey: KEY, projectId: 42n, envelope: { eventId: EVENT_ID, items: [EVENT] } };
  return Object.assign(usual, more);
}

function call({ url }: ServiceUnderTest, requests: AsyncIterable<Sent>, headers: Record<string, string> = {}) {
  return createClient(RelayService, createGrpcTransport({ baseUrl: url })).sendEnvelopes(requests, { headers });
}

async function* each(...requests: readonly Sent[]) {
  yield* requests;
}

async function answersOf(service: ServiceUnderTest, requests: readonly Sent[], headers: Record<string, string> = {}) {
  const answers: SendEnvelopesResponse[] = [];
  for await (const answer of call(service, each(...requests), headers)) answers.push(answer);
  return answers;
}

const asRelay = { Authorization: `Bearer ${RELAY_TOKEN}` };

test('an envelope is taken, and answered with its id', async () => {
  const service = await startService();
  const sentAtMs = Date.now() - 5000;
  const item = {
    type: 'attachment',
    contentType: 'text/plain',
    filename: 'a.txt',
    attachmentType: 'event.attachment',
    headersJson: '{"x":1}',
    payload: Buffer.from('abc'),
  };
  const envelope = {
    eventId: '9EC79C33-ec99-42ab-8353-589fcb2e04dc',
    sentAt: timestampFromMs(sentAtMs),
    headersJson: '{"sdk":{"name":"a"}}',
    items: [EVENT, item],
  };
  const answers = await answersOf(service, [request({ sequence: 7n, publicKey: KEY.toUpperCase(), envelope })]);
  expect(answers).toMatchObject([{ sequence: 7n, eventId: EVENT_ID, rateLimits: [] }]);
  expect(answers[0]?.error).toBeUndefined();
  const { sender, envelope: taken, sizeBytes } = service.intake.only;
  expect(sender).toMatchObject({ publicKey: KEY, projectId: 42n });
  expect(taken).toMatchObject({ eventId: EVENT_ID, sentAtMs, headers: { sdk: { name: 'a' } } });
  const { headersJson: _, payload, ...same } = item;
  expect(taken.items[1]).toMatchObject({ ...same, headers: { x: 1 } });
  expect(Buffer.from(taken.items[1]?.payload ?? [])).toEqual(payload);
  expect(sizeBytes).toBeGreaterThan(20);
});

test('one that is larger than what other services take in a message', async () => {
  const service = await startService();
  const payload = Buffer.alloc(8 * 1024 * 1024);
  const envelope = { eventId: EVENT_ID, items: [{ type: 'attachment', payload }] };
  const [answer] = await answersOf(service, [request({ envelope })]);
  expect([answer?.eventId, answer?.error]).toEqual(['', undefined]);
  expect(service.intake.only.envelope.items[0]?.payload.byteLength).toBe(payload.byteLength);
});

describe('the sender', () => {
  const told = {
    remoteAddr: '203.0.113.7',
    origin: 'https://page',
    userAgent: 'agent/1',
    client: 'sentry.python/2.1',
    receiveTime: timestampFromMs(1_700_000_000_000),
  };
  test('is what a relay of ours says', async () => {
    const service = await startService();
    await answersOf(service, [request({ sender: told, projectId: 0n })], asRelay);
    const { receiveTime: _, ...same } = told;
    expect(service.intake.only.sender).toEqual({
      ...same,
      publicKey: KEY,
      projectId: undefined,
      receivedMs: 1_700_000_000_000,
    });
  });
  test('was not received in the future', async () => {
    const service = await startService();
    const sender = { receiveTime: timestampFromMs(Date.now() + 3_600_000) };
    await answersOf(service, [request({ sender })], asRelay);
    expect(service.intake.only.sender.receivedMs).toBeLessThanOrEqual(Date.now());
  });
  test('is the caller itself, of anybody else', async () => {
    const service = await startService();
    await answersOf(service, [request({ sender: told })], { 'X-Forwarded-For': '198.51.100.1, 10.0.0.1' });
    expect(service.intake.only.sender).toMatchObject({
      remoteAddr: '198.51.100.1',
      origin: undefined,
      client: undefined,
    });
    expect(service.intake.only.sender.receivedMs).toBeGreaterThan(Date.now() - 60_000);
  });
  test('with another token is refused', async () => {
    const service = await startService();
    for (const authorization of ['Bearer another', 'Basic x']) {
      const error = await answersOf(service, [request()], { authorization }).catch(ConnectError.from);
      expect(error).toMatchObject({ code: Code.Unauthenticated });
    }
    expect(service.intake.received).toEqual([]);
  });
});

const without = { envelope: undefined } as unknown as Sent;

test.each<[Code, string, Sent]>([
  [Code.Unauthenticated, 'a malformed key', { publicKey: 'x' }],
  [Code.InvalidArgument, 'no envelope', without],
  [Code.InvalidArgument, 'a malformed id', { envelope: { eventId: 'x' } }],
  [Code.InvalidArgument, 'an id that is none', { envelope: { eventId: '-'.repeat(32) } }],
  [Code.InvalidArgument, 'an item without a type', { envelope: { items: [{}] } }],
  [Code.InvalidArgument, 'headers that are no object', { envelope: { headersJson: '[]' } }],
  [Code.InvalidArgument, 'headers that are no JSON', { envelope: { items: [{ type: 'event', headersJson: '{' }] } }],
  [Code.InvalidArgument, 'too many items', { envelope: { items: Array.from({ length: 501 }, () => ({ type: 'a' })) } }],
  [Code.ResourceExhausted, 'two events', { envelope: { items: [EVENT, EVENT] } }],
  [
    Code.ResourceExhausted,
    'a large event',
    { envelope: { items: [{ type: 'event', payload: Buffer.alloc(1024 * 1024 + 1) }] } },
  ],
])('%i for %s, and the call goes on', async (code, _, wrong) => {
  const service = await startService();
  const answers = await answersOf(service, [request({ sequence: 1n, ...wrong }), request({ sequence: 2n })]);
  expect(answers.map(({ sequence, error }) => [sequence, error?.code])).toEqual([
    [1n, code],
    [2n, undefined],
  ]);
  expect(service.intake.received).toHaveLength(1);
});

describe('what the intake says', () => {
  const limit: ActiveLimit = {
    scope: 'project',
    scopeId: 42n,
    categories: ['error'],
    reasonCode: 'quota',
    untilMs: Date.now() + 60_000,
  };
  test.each(['limited', 'queued'] as const)('over a limit, though %s', async (kind) => {
    const service = await startService();
    const limits = [limit];
    service.intake.answer = () => (kind === 'limited' ? { kind, limits } : { ...QUEUED, limits });
    const [answer] = await answersOf(service, [request()]);
    expect(answer?.error).toMatchObject({ code: Code.ResourceExhausted });
    expect(answer?.error?.details.some(({ typeUrl }) => typeUrl.endsWith(RetryInfoSchema.typeName))).toBe(true);
    expect(answer?.rateLimits).toMatchObject([
      { categories: ['error'], scope: RateLimit_Scope.PROJECT, reasonCode: 'quota', retryAfterSec: expect.any(Number) },
    ]);
  });
  test.each([
    [{ kind: 'refused', reason: 'project_disabled' } as const, Code.PermissionDenied],
    [{ kind: 'overloaded' } as const, Code.Unavailable],
    [{ ...QUEUED, settled: Promise.resolve(false) } as const, Code.Unavailable],
  ])('%j is %i', async (accepted, code) => {
    const service = await startService();
    service.intake.answer = () => accepted;
    expect(await answersOf(service, [request()])).toMatchObject([{ error: { code } }]);
  });
});

test('answers come when envelopes are in the log, in that order', async () => {
  const service = await startService();
  const settling = new Map<bigint, (isSettled: boolean) => void>();
  let sequence = 0n;
  service.intake.answer = () => ({
    kind: 'queued',
    limits: [],
    settled: new Promise((resolve) => settling.set(++sequence, resolve)),
  });
  const answers = call(service, each(request({ sequence: 1n }), request({ sequence: 2n })))[Symbol.asyncIterator]();
  const first = answers.next();
  await expect.poll(() => settling.size, { timeout: 20_000 }).toBe(2);
  settling.get(2n)?.(true);
  expect((await first).value).toMatchObject({ sequence: 2n });
  const second = answers.next();
  settling.get(1n)?.(true);
  expect((await second).value).toMatchObject({ sequence: 1n });
  expect(await answers.next()).toMatchObject({ done: true });
});

test('a caller that sends faster than is taken is held back', async () => {
  const service = await startService();
  const held: ((isSettled: boolean) => void)[] = [];
  service.intake.answer = () => ({ kind: 'queued', limits: [], settled: new Promise((resolve) => held.push(resolve)) });
  const payload = Buffer.alloc(16 * 1024);
  const total = 600;
  let sent = 0;
  async function* requests() {
    for (; sent < total; sent++)
      yield request({ sequence: BigInt(sent), envelope: { items: [{ type: 'a', payload }] } });
  }
  const answers: SendEnvelopesResponse[] = [];
  const done = (async () => {
    for await (const answer of call(service, requests())) answers.push(answer);
  })();
  await expect.poll(() => service.intake.received.length, { timeout: 20_000 }).toBe(256);
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(service.intake.received.length).toBe(256);
  expect(sent).toBeLessThan(400);
  const settle = setInterval(() => {
    for (const resolve of held.splice(0)) resolve(true);
  }, 5);
  await done;
  clearInterval(settle);
  expect([answers.length, new Set(answers.map(({ sequence }) => sequence)).size]).toEqual([total, total]);
});

test('a drain ends the call: what has no answer is sent again', async () => {
  const service = await startService({ drainTimeoutMs: 2_000 });
  service.intake.answer = ({ sender }) =>
    sender.projectId === 1n ? { ...QUEUED, settled: new Promise(() => {}) } : QUEUED;
  async function* requests() {
    yield request({ sequence: 1n, projectId: 1n });
    yield request({ sequence: 2n });
    await new Promise(() => {});
  }
  const answers = call(service, requests())[Symbol.asyncIterator]();
  expect((await answers.next()).value).toMatchObject({ sequence: 2n });
  const next = answers.next().catch(ConnectError.from);
  void service.running.stop();
  expect(await next).toMatchObject({ code: Code.Unavailable, rawMessage: 'Server is draining' });
});

test('a drain waits for the answers of what was taken, and takes nothing more', async () => {
  const service = await startService({ drainTimeoutMs: 20_000 });
  const { promise: settled, resolve: settle } = Promise.withResolvers<boolean>();
  const { promise: isDraining, resolve: goOn } = Promise.withResolvers<void>();
  const { promise: isOver, resolve: end } = Promise.withResolvers<void>();
  service.intake.answer = ({ sender }) => (sender.projectId === 1n ? { ...QUEUED, settled } : QUEUED);
  async function* requests() {
    yield request({ sequence: 1n, projectId: 1n });
    yield request({ sequence: 2n });
    await isDraining;
    yield request({ sequence: 3n });
    await isOver;
  }
  const answers = call(service, requests())[Symbol.asyncIterator]();
  expect((await answers.next()).value).toMatchObject({ sequence: 2n });
  const next = answers.next().catch(ConnectError.from);
  const stopped = service.running.stop();
  await until('it takes no connections', () => connectionsAreRefused(service.url));
  goOn();
  await new Promise((resolve) => setTimeout(resolve, 100));
  settle(true);
  expect(await next).toMatchObject({ value: { sequence: 1n } });
  expect(await answers.next().catch(ConnectError.from)).toMatchObject({ rawMessage: 'Server is draining' });
  expect(service.intake.received).toHaveLength(2);
  end();
  await stopped;
});

test('a drain is told to those who look at the relay by HTTP, before anything ends', async () => {
  const service = await startService({ drainTimeoutMs: 4000 });
  const ready = async () => (await fetch(`${service.url}/api/relay/healthcheck/ready/`)).status;
  expect(await ready()).toBe(200);
  const stopping = service.running.stop();
  expect(await ready()).toBe(503);
  await stopping;
});

test('strangers have few calls at once', async () => {
  const service = await startService();
  const release = Promise.withResolvers<void>();
  async function* requests() {
    yield request();
    await release.promise;
  }
  const open = async (headers?: Record<string, string>) => {
    const answers = call(service, requests(), headers)[Symbol.asyncIterator]();
    const first = await answers.next().catch(ConnectError.from);
    return { answers, first };
  };
  const calls = await Promise.all(Array.from({ length: 16 }, () => open()));
  expect((await open()).first).toMatchObject({ code: Code.Unavailable, rawMessage: 'Too many callers send here' });
  expect((await open(asRelay)).first).toMatchObject({ value: { eventId: EVENT_ID } });
  release.resolve();
  for (const { answers } of calls) expect(await answers.next()).toMatchObject({ done: true });
  expect((await open()).first).toMatchObject({ value: { eventId: EVENT_ID } });
});

test('of the calls of strangers one address has a part, and what it has ended it may begin again', async () => {
  const service = await startService({ trustedHops: 1 });
  const release = Promise.withResolvers<void>();
  async function* requests() {
    yield request();
    await release.promise;
  }
  const open = async (from: string, headers: Record<string, string> = {}) => {
    const answers = call(service, requests(), { ...headers, 'x-forwarded-for': `${from}, 192.0.2.1` });
    const iterator = answers[Symbol.asyncIterator]();
    return { iterator, first: await iterator.next().catch(ConnectError.from) };
  };
  const answered = { value: { eventId: EVENT_ID } };
  const refused = { code: Code.Unavailable, rawMessage: 'Too many callers send here' };
  const calls = await Promise.all(Array.from({ length: 20 }, (_, n) => open(`10.0.0.${n}, 203.0.113.1`)));
  const [under, over] = [calls.filter(({ first }) => !(first instanceof ConnectError)), calls];
  expect(under).toHaveLength(4);
  for (const { first } of over) expect(first).toMatchObject(first instanceof ConnectError ? refused : answered);
  expect((await open('203.0.113.2')).first).toMatchObject(answered);
  expect((await open('203.0.113.1', asRelay)).first).toMatchObject(answered);
  release.resolve();
  for (const { iterator } of under) expect(await iterator.next()).toMatchObject({ done: true });
  expect((await open('203.0.113.1')).first).toMatchObject(answered);
});

test('an unexpected error ends the call with nothing said', async () => {
  const service = await startService();
  service.intake.answer = () => {
    throw new Error('at 10.0.0.7');
  };
  const error = await answersOf(service, [request()]).catch(ConnectError.from);
  expect(error).toMatchObject({ code: Code.Internal, rawMessage: 'internal error' });
});

test.for([-8_000_000_000_000n, -1n, 8_000_000_000_000n])(
  'a relay whose clock says %s s is not believed',
  async (seconds) => {
    const service = await startService();
    const before = Date.now();
    await answersOf(service, [request({ sender: { receiveTime: { seconds } } })], asRelay);
    expect(service.intake.only.sender.receivedMs).toBeGreaterThanOrEqual(before);
  },
);

test('what is not payload counts, too', async () => {
  const service = await startService();
  const headersJson = `{"a":"${'x'.repeat(60_000)}"}`;
  const items = Array.from({ length: 100 }, () => ({ ...EVENT, type: 'other', headersJson }));
  await answersOf(service, [request({ envelope: { eventId: EVENT_ID, items, headersJson } })]);
  expect(service.intake.only.sizeBytes).toBeGreaterThan(101 * 60_000);
});
