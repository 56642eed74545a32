import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, createRouterTransport, type HandlerContext } from '@connectrpc/connect';
import { expect, onTestFinished, test } from 'vitest';
import {
  ConfigService,
  type GetProjectConfigsRequest,
  type KeyAnswer,
  KeyAnswerSchema,
  type WatchProjectConfigsResponseSchema,
} from '#gen/tideway/config/v1/config_service_pb.ts';
import { until } from '../../test/support/until.ts';
import { configOf, keyOf } from './lookup-testing.ts';
import { createRpcConfigSource } from './rpc-config-source.ts';

// What a config service may answer, said by the test. How the real one answers: test/flows/relay-projects.test.ts.

const TOKEN = 'the token of this relay';
const never = new AbortController().signal;

interface Watching {
  readonly since: string;
  readonly authorization: string | null;
  tell(response: { cursor: string; publicKeys?: string[]; reset?: boolean }): void;
  fail(error: Error): void;
}

function start() {
  const requests: GetProjectConfigsRequest[] = [];
  const watches: Watching[] = [];
  const errors: unknown[] = [];
  let answers: (request: GetProjectConfigsRequest) => KeyAnswer[] = () => [];
  const transport = createRouterTransport((router) => {
    router.service(ConfigService, {
      getProjectConfigs(request) {
        requests.push(request);
        return { answers: answers(request) };
      },
      async *watchProjectConfigs({ since }, context) {
        yield* watching(since, context);
      },
    });
  });

  async function* watching(since: string, { requestHeader, signal }: HandlerContext) {
    const told: MessageInitShape<typeof WatchProjectConfigsResponseSchema>[] = [];
    let failed: Error | undefined;
    let wake = () => {};
    signal.addEventListener('abort', () => wake());
    watches.push({
      since,
      authorization: requestHeader.get('authorization'),
      tell(response) {
        told.push(response);
        wake();
      },
      fail(error) {
        failed = error;
        wake();
      },
    });
    while (!signal.aborted) {
      const next = told.shift();
      if (next !== undefined) yield next;
      else if (failed !== undefined) throw failed;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  const source = createRpcConfigSource({ transport, token: TOKEN, onError: (error) => errors.push(error) });
  onTestFinished(() => source.close());
  return {
    source,
    requests,
    watches,
    errors,
    answer(by: typeof answers) {
      answers = by;
    },
    async watch(n: number): Promise<Watching> {
      await until(`watch ${n} begins`, () => watches.length > n);
      return watches[n] as Watching;
    },
  };
}

function startWatch(setting: ReturnType<typeof start>) {
  const changes: string[] = [];
  let resets = 0;
  const stop = setting.source.watch?.(
    (publicKeys) => changes.push(...publicKeys),
    () => {
      resets += 1;
    },
  );
  return { changes, resets: () => resets, stop: () => stop?.() };
}

test('each kind of answer; of another key or none is an error', async () => {
  const { source, requests, answer } = start();
  const kinds = ['unchanged', 'pending', 'disabled', 'unavailable'] as const;
  answer(({ keys }) =>
    keys.map(({ publicKey }, n) => {
      const kind = kinds[n];
      if (kind !== undefined) return create(KeyAnswerSchema, { publicKey, answer: { case: kind, value: true } });
      if (n > 4) return create(KeyAnswerSchema, { publicKey });
      return create(KeyAnswerSchema, { publicKey, answer: { case: 'config', value: configOf(9n) } });
    }),
  );
  const keys = [0, 1, 2, 3, 4, 5].map((n) => ({ publicKey: keyOf(n), revision: BigInt(n) }));
  expect(await source.lookup(keys, never)).toEqual([
    ...kinds.map((kind) => ({ kind })),
    { kind: 'enabled', config: configOf(9n) },
    { kind: 'pending' },
  ]);
  expect(requests[0]).toMatchObject({ keys, seen: '' });
  for (const wrong of [[], [create(KeyAnswerSchema, { publicKey: keyOf(7) })]]) {
    answer(() => wrong);
    await expect(source.lookup([{ publicKey: keyOf(1), revision: 0n }], never)).rejects.toThrow('other keys');
  }
});

test('a lookup says what the watch has seen, and ends with its signal', async () => {
  const setting = start();
  const watched = startWatch(setting);
  (await setting.watch(0)).tell({ cursor: 'c1' });
  await until('it began', () => watched.resets() === 1);
  await setting.source.lookup([], never);
  expect(setting.requests[0]?.seen).toBe('c1');
  await expect(setting.source.lookup([], AbortSignal.abort())).rejects.toMatchObject({ code: Code.Canceled });
});

test('a watch begins with a reset, tells changes, and goes on from where it was', async () => {
  const setting = start();
  const watched = startWatch(setting);
  const first = await setting.watch(0);
  expect(first).toMatchObject({ since: '', authorization: `Bearer ${TOKEN}` });
  first.tell({ cursor: 'c1' });
  first.tell({ cursor: 'c2', publicKeys: ['a', 'b'] });
  await until('it tells', () => watched.changes.length === 2);
  expect(watched.resets()).toBe(1);
  first.fail(new ConnectError('drained', Code.Unavailable));
  const second = await setting.watch(1);
  expect(second.since).toBe('c2');
  second.tell({ cursor: 'c3', publicKeys: ['c'] });
  await until('it tells', () => watched.changes.length === 3);
  expect(watched.resets()).toBe(1);
  second.tell({ cursor: 'c4', reset: true });
  await until('it is reset', () => watched.resets() === 2);
  second.fail(new ConnectError('no cursor', Code.InvalidArgument));
  const third = await setting.watch(2);
  expect(third.since).toBe('');
  third.tell({ cursor: 'c5' });
  await until('it is reset', () => watched.resets() === 3);
  expect(setting.errors).toHaveLength(2);
});

test('an outage is told of once; a stopped watch stays so', async () => {
  const setting = start();
  const watched = startWatch(setting);
  for (let n = 0; n < 4; n += 1) (await setting.watch(n)).fail(new ConnectError('away', Code.Unavailable));
  const last = await setting.watch(4);
  expect(setting.errors).toHaveLength(1);
  watched.stop();
  last.tell({ cursor: 'late', publicKeys: ['x'] });
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect([watched.changes, watched.resets(), setting.watches.length]).toEqual([[], 0, 5]);
});
