import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { afterEach, expect, test } from 'vitest';
import { WatchCancelRequestSchema, type WatchCancelResponse } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { channelKey } from '#lib/broker/broker.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { Gate } from '#lib/server/gate.ts';
import { CancelWatches } from './cancel-watches.ts';
import { MAX_WATCHES, watchCancel } from './watch-cancel.ts';

const ORG = 7n;
const opened: { close(): unknown }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.close();
});

function setUp({ expiresInMs = 60_000, signOfLifeMs = 60_000, channelId = undefined as string | undefined } = {}) {
  const broker = createMemoryBroker();
  const watches = new CancelWatches(broker.decisions, () => {});
  opened.push(watches, broker);
  const draining = new AbortController();
  const channelIds = [randomUUID(), randomUUID()];
  const claims = { expiresAtMs: Date.now() + expiresInMs, ...(channelId && { channelId }) };
  const watch = () =>
    watchCancel(create(WatchCancelRequestSchema, { orgId: ORG, channelIds }), {
      gate: new Gate({}),
      watches,
      claims: claims as never,
      signal: draining.signal,
      signOfLifeMs,
    });
  const cancel = (n: number) =>
    broker.decisions.make(
      { kind: 'cancelled', about: channelKey(ORG, channelIds[n] ?? ''), atMs: Date.now(), detail: `${n}` },
      60_000,
    );
  return { watches, draining, watch, cancel };
}

const reasonOf = ({ value }: IteratorResult<WatchCancelResponse, unknown>) =>
  (value as WatchCancelResponse).cancelled?.reason;

test('says at once that it watches, then each cancellation, and ends with the last', async () => {
  const { watch, cancel, watches } = setUp();
  await cancel(1);
  const call = watch();
  expect(reasonOf(await call.next())).toBeUndefined();
  expect(reasonOf(await call.next())).toBe('1');
  await cancel(0);
  expect(reasonOf(await call.next())).toBe('0');
  expect((await call.next()).done).toBe(true);
  expect([watches.open, watches.channels]).toEqual([0, 0]);
});

test('shows signs of life while nothing happens', async () => {
  const { watch, watches } = setUp({ signOfLifeMs: 1 });
  const call = watch();
  for (let n = 0; n < 5; n += 1) expect(await call.next()).toMatchObject({ done: false, value: {} });
  // The caller goes.
  await call.return(undefined);
  expect([watches.open, watches.channels]).toEqual([0, 0]);
});

test('ends when the server drains, and begins nothing then', async () => {
  const { watch, draining, watches } = setUp();
  const call = watch();
  await call.next();
  const waiting = call.next();
  draining.abort();
  await expect(waiting).rejects.toThrow('Server is draining');
  await expect(watch().next()).rejects.toThrow('Server is draining');
  expect(watches.open).toBe(0);
});

test('ends with its token', async () => {
  const { watch, watches } = setUp({ expiresInMs: 0, signOfLifeMs: 1 });
  const call = watch();
  await call.next();
  await expect(call.next()).rejects.toThrow('Token expired');
  expect(watches.open).toBe(0);
});

test('is for the channels of its token', async () => {
  const { watch } = setUp({ channelId: randomUUID() });
  await expect(watch().next()).rejects.toThrow('Invalid token claims');
});

test('is bounded', async () => {
  const { watch, watches } = setUp();
  const others = Array.from({ length: MAX_WATCHES }, () => watches.watch(() => {}));
  await expect(watch().next()).rejects.toThrow('Too many producers');
  others[0]?.close();
  const call = watch();
  expect((await call.next()).done).toBe(false);
  await call.return(undefined);
});
