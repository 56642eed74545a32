import { expect, test } from 'vitest';
import { startRedisSentinel } from '../../test/support/redis-sentinel.ts';
import { until } from '../../test/support/until.ts';
import { BrokerUnavailableError, type PublishRate } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { createRedisBroker } from './redis-broker.ts';
import { publishes } from './redis-fixture.ts';

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };

test.each([0, 1])(
  'what failed while Sentinel was away is not stored once it is back: %i replicas waited for',
  async (waitReplicas) => {
    await using redis = await startRedisSentinel('sesame', { downAfterMs: 60_000 });
    const { admin } = redis.master;
    // A message is forgotten with the next one.
    const retention = { maxEntries: 1, minAgeMs: 0 };

    const cut = createRedisBroker({ url: redis.url, commandTimeoutMs: 400, retention, waitReplicas });
    const other = createRedisBroker({ url: redis.master.url, commandTimeoutMs: 5000, retention });
    try {
      const channel = newChannel();
      await until('it publishes', () => publishes(cut, channel));
      await publishes(other, channel);
      redis.sentinel.pause();
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await until('the other is back', () => publishes(other, channel));
      const message = newMessage();
      await expect(cut.publish(channel, message, UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
      for (const each of [message, newMessage(), newMessage(), newMessage()]) {
        expect((await other.publish(channel, each, UNLIMITED)).kind).toBe('stored');
      }
      const [tail] = await other.tails([channel]);
      redis.sentinel.resume();
      await until('it publishes again', () => publishes(cut, newChannel()));
      expect(await other.tails([channel])).toEqual([tail]);
    } finally {
      await Promise.all([cut.close(), other.close()]);
    }
  },
);
