import { expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { until } from '../../test/support/until.ts';
import { type Broker, type ChannelKey, type Entry, SEAL_OUTLIVES_LOG_MS } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { Follower, type Reader } from './follow.ts';
import { redisForEachTest } from './redis-fixture.ts';

/** CHURN_CHANNELS=100000 is the long form. */
const CHANNELS = Number(process.env['CHURN_CHANNELS'] ?? 2_000);
const AT_ONCE = 100;
const SEALED_TTL_MS = 400;
const IDLE_MS = 200;
const INTERVAL_MS = 100;

const redis = redisForEachTest();

test(`${CHANNELS} channels come and go, and Redis has the keys that it had before`, async () => {
  const broker = redis.open({
    commandTimeoutMs: 10_000,
    retention: { sealedTtlMs: SEALED_TTL_MS },
    reportIntervalMs: 50,
  });
  const { admin } = redis.server;
  await broker.governIdle(IDLE_MS, INTERVAL_MS);
  await broker.ping(10_000);
  const before = await admin.dbsize();
  const follower = new Follower<{ readonly entry: Entry }>({
    broker,
    share: (entry) => ({ entry }),
    onError: (error) => expect(error).toBeUndefined(),
  });
  for (let at = 0; at < CHANNELS; at += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => comeAndGo(follower, broker, n)));
  }
  expect(follower.channels).toBe(0);
  await until('no channel is subscribed to', async () => ((await admin.pubsub('SHARDCHANNELS')) as []).length === 0);

  // Streams without END are ended, or their logs have expired: then only the index knew them.
  await until('nothing is idle any more', async () => {
    await broker.endIdle(IDLE_MS, 1_000);
    return (await admin.keys('tideway:activity:*')).length === 0;
  });
  await until('logs have expired, and seals are left', async () => {
    const keys = await admin.keys('tideway:{*');
    return keys.every((key) => key.endsWith(':seal'));
  });
  const seals = await admin.keys('tideway:{*');
  expect(seals.length).toBeGreaterThanOrEqual(CHANNELS / 2);
  for (const seal of seals) expect(await admin.pttl(seal)).toBeLessThanOrEqual(SEAL_OUTLIVES_LOG_MS + SEALED_TTL_MS);
  for (const seal of seals) expect(await admin.pexpire(seal, 1, 'LT')).toBe(1);
  await until('it is as before', async () => (await admin.dbsize()) === before);
  follower.close();
});

/** Of four, two end, one is left without END and one before anything was published. */
async function comeAndGo(follower: Follower<{ readonly entry: Entry }>, broker: Broker, n: number): Promise<void> {
  const channel = newChannel();
  const [early, late] = [new OneReader(), new OneReader()];
  const first = await follower.follow(channel, undefined, early);
  if (first.kind === 'following' && n % 4 === 3) first.leave();
  await publish(broker, channel, Phase.START);
  const second = await follower.follow(channel, undefined, late);
  await publish(broker, channel, Phase.DELTA);
  if (n % 4 < 2) {
    await publish(broker, channel, Phase.END);
    expect(await Promise.all([early.finished.promise, late.finished.promise])).toEqual(['ended', 'ended']);
  } else {
    for (const following of [first, second]) if (following.kind === 'following') following.leave();
  }
}

async function publish(broker: Broker, channel: ChannelKey, phase: Phase): Promise<void> {
  const { kind } = await broker.publish(channel, newMessage({ phase }), { name: 'unary', perSec: 0 });
  expect(kind).toBe('stored');
}

class OneReader implements Reader<{ readonly entry: Entry }> {
  readonly finished = Promise.withResolvers<'ended' | 'unavailable'>();
  deliver(): void {}
  control(): void {}
  congested(): undefined {}
  finish(reason: 'ended' | 'unavailable'): void {
    this.finished.resolve(reason);
  }
}
