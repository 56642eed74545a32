import { Code, ConnectError } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { RpcSink } from './rpc-sink.ts';

const late = new ConnectError('the operation timed out', Code.DeadlineExceeded);

test.each([
  ['before', AbortSignal.abort(late)],
  ['after', undefined],
])('a deadline that ends %s it began is said', async (_, signal) => {
  const later = new AbortController();
  const sink = new RpcSink(signal ?? later.signal);
  const ended = sink.responses().next();
  later.abort(late);
  await expect(ended).rejects.toBe(late);
  expect(sink.isGone).toBe(true);
});

test('whoever went before it began hears nothing', async () => {
  const sink = new RpcSink(AbortSignal.abort());
  expect(await sink.responses().next()).toEqual({ done: true, value: undefined });
});
