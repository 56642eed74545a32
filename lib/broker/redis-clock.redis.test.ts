import { beforeEach, test as everywhere, expect } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { until } from '../../test/support/until.ts';
import type { ChannelKey, PublishRate } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { BEFORE_ALL, compareEntryIds } from './entry-id.ts';
import { Follower } from './follow.ts';
import { redisForEachTest } from './redis-fixture.ts';
import { channelKeys } from './redis-keys.ts';

// Redis' own clock is set while everything goes on: by an operator, by NTP, or by a failover to a server that has another. On
// Linux, where tests can do that.

const test = everywhere.runIf(process.platform === 'linux');

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };
const HOUR_SEC = 3_600;

const redis = redisForEachTest({ ownClock: true });
let channel: ChannelKey;

beforeEach(() => {
  channel = newChannel();
});

/** Sets it, and makes sure that it was. */
async function setClock(offsetSec: number): Promise<void> {
  const { admin, clock } = redis.server;
  if (clock === undefined) throw new Error('libfaketime is missing: apt-get install libfaketime');
  const isSec = async () => Number((await admin.time())[0]) - Date.now() / 1_000;
  clock.set(offsetSec);
  await until('Redis goes by the new time', async () => Math.abs((await isSec()) - offsetSec) < 5);
}

async function idsOf(key: ChannelKey): Promise<string[]> {
  return (await redis.server.admin.xrange(channelKeys(key).log, '-', '+')).map(([id]) => id);
}

test('set back by an hour: ids go on rising, each with the one before it, and nothing is stored twice', async () => {
  const broker = redis.open();
  const first = newMessage();
  await broker.publish(channel, first, UNLIMITED);
  await setClock(-HOUR_SEC);
  expect((await broker.publish(channel, first, UNLIMITED)).kind).toBe('duplicate');
  for (let n = 0; n < 3; n += 1) await broker.publish(channel, newMessage(), UNLIMITED);
  await broker.publishMany(channel, [newMessage(), newMessage()], UNLIMITED);
  const { entries } = await broker.read(channel, BEFORE_ALL, 10);
  expect(entries).toHaveLength(6);
  entries.forEach((entry, n) => {
    const prev = entries[n - 1]?.id ?? BEFORE_ALL;
    expect(entry.prev).toBe(prev);
    expect(compareEntryIds(entry.id, prev)).toBeGreaterThan(0);
  });
});

test('what a failover took back has other ids than what comes in its place, also where the clock stands behind both', async () => {
  const broker = redis.open();
  const { admin } = redis.server;
  const { log, index } = channelKeys(channel);
  await setClock(HOUR_SEC);
  await broker.publish(channel, newMessage(), UNLIMITED);
  await setClock(0);
  const before = await Promise.all([log, index].map((key) => admin.dumpBuffer(key)));
  const publish = async (): Promise<string[]> => {
    for (let n = 0; n < 100; n += 1) await broker.publish(channel, newMessage(), UNLIMITED);
    return (await idsOf(channel)).slice(1);
  };
  const lost = await publish();
  for (const [n, key] of [log, index].entries()) await admin.restore(key, 360_000, before[n] as Buffer, 'REPLACE');
  const ids = new Set([...lost, ...(await publish())]);
  expect(ids.size).toBe(200);
});

test('set back by an hour: a channel whose second was full takes as many again, and then refuses for a second at most', async () => {
  const broker = redis.open();
  const rate: PublishRate = { name: 'unary', perSec: 2 };
  await setClock(HOUR_SEC);
  const publish = () => broker.publish(channel, newMessage(), rate);
  await Promise.all([publish(), publish()]);
  await setClock(0);
  const after = await Promise.all([publish(), publish(), publish()]);
  expect(after.map(({ kind }) => kind)).toEqual(['stored', 'stored', 'rate_limited']);
  const [, , refused] = after;
  if (refused?.kind === 'rate_limited') expect(refused.retryAfterMs).toBeLessThanOrEqual(1_000);
});

test('set ahead and back: nothing is trimmed before its time by what came from the future', async () => {
  const broker = redis.open({ retention: { maxEntries: 2, minAgeMs: 60_000 } });
  // Less than a log lives without activity.
  await setClock(50);
  for (let n = 0; n < 4; n += 1) await broker.publish(channel, newMessage(), UNLIMITED);
  await setClock(0);
  for (let n = 0; n < 4; n += 1) await broker.publish(channel, newMessage(), UNLIMITED);
  expect(await idsOf(channel)).toHaveLength(8);
  await setClock(200);
  await broker.publish(channel, newMessage(), UNLIMITED);
  expect(await idsOf(channel)).toHaveLength(3);
});

test('set ahead by an hour: the log expires and begins anew, and its listeners are told', async () => {
  const broker = redis.open();
  const told: string[] = [];
  const follower = new Follower({
    broker,
    share: (entry) => entry,
    onError: (error) => {
      throw error;
    },
  });
  const following = await follower.follow(channel, undefined, {
    deliver: ({ id }) => void told.push(id),
    control: (notice) => void told.push(notice.type),
    finish: (reason) => void told.push(reason),
    congested: () => undefined,
  });
  const first = newMessage({ phase: Phase.START });
  const before = await broker.publish(channel, first, UNLIMITED);
  await until('it is delivered', () => told.length === 1);
  await setClock(HOUR_SEC);
  // What deduplication remembers is what is retained.
  const again = await broker.publish(channel, first, UNLIMITED);
  expect(again.kind).toBe('stored');
  await until('it is delivered', () => told.length === 3);
  const idOf = (result: typeof again) => (result.kind === 'stored' ? result.id : '');
  expect(told).toEqual([idOf(before), 'expired', idOf(again)]);
  if (following.kind === 'following') following.leave();
  follower.close();
});

test('set ahead by an hour: a seal outlives its log, and what ended is refused', async () => {
  const broker = redis.open();
  await broker.publish(channel, newMessage({ phase: Phase.END }), UNLIMITED);
  await setClock(HOUR_SEC);
  expect(await idsOf(channel)).toEqual([]);
  expect((await broker.publish(channel, newMessage(), UNLIMITED)).kind).toBe('sealed');
});

test('set back by an hour while a stream goes on: it is not idle, and its log lives as long as before', async () => {
  const broker = redis.open();
  await setClock(HOUR_SEC);
  await broker.publish(channel, newMessage(), UNLIMITED);
  await setClock(0);
  await broker.publish(channel, newMessage(), UNLIMITED);
  expect((await broker.endIdle(60_000, 10)).ended).toEqual([]);
  expect(await redis.server.admin.pttl(channelKeys(channel).log)).toBeLessThanOrEqual(360_000);
});

test('set ahead by more than a stream may be idle: it is taken for one whose producer is lost', async () => {
  const broker = redis.open();
  await broker.publish(channel, newMessage(), UNLIMITED);
  expect((await broker.endIdle(120_000, 10)).ended).toEqual([]);
  await setClock(200);
  expect((await broker.endIdle(120_000, 10)).ended).toEqual([channel]);
});
