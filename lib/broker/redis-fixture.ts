import { afterEach, beforeEach } from 'vitest';
import { type RedisServer, type RedisServerOptions, startRedis } from '../../test/support/redis.ts';
import type { Broker, ChannelKey } from './broker.ts';
import { newMessage } from './broker-harness.ts';
import { createRedisBroker, type RedisBrokerOptions } from './redis-broker.ts';

/** A Redis server of its own for each test of a file, and brokers on it that are closed with the test. */
export interface RedisFixture {
  readonly server: RedisServer;
  open(options?: Partial<RedisBrokerOptions>): Broker;
}

export function redisForEachTest(options: RedisServerOptions = {}): RedisFixture {
  let server: RedisServer | undefined;
  let brokers: Broker[] = [];
  const started = () => {
    if (!server) throw new Error('Redis runs only within a test');
    return server;
  };
  beforeEach(async () => {
    server = await startRedis(options);
  });
  afterEach(async () => {
    server?.resume();
    await Promise.all(brokers.map((broker) => broker.close()));
    brokers = [];
    await server?.stop();
  });
  return {
    get server() {
      return started();
    },
    open: (options) => {
      const broker = createRedisBroker({ url: started().url, commandTimeoutMs: 1_000, ...options });
      brokers.push(broker);
      return broker;
    },
  };
}

/** Publishes a new message; true if it was stored. */
export async function publishes(broker: Broker, channel: ChannelKey): Promise<boolean> {
  return (await broker.publish(channel, newMessage(), { name: 'unary', perSec: 0 })).kind === 'stored';
}
