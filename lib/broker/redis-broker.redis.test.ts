import { Cluster } from 'ioredis';
import { afterAll, beforeAll, describe } from 'vitest';
import { type RedisServer, startRedis } from '../../test/support/redis.ts';
import { type RedisClusterServers, startRedisCluster } from '../../test/support/redis-cluster.ts';
import { describeBrokerContract } from './broker-contract.ts';
import { openRedisHarness } from './redis-harness.ts';

const RUNS = 60;

describe('one server', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  describeBrokerContract('redis', {
    open: async (retention) =>
      openRedisHarness({ url: server.url, keys: server.admin, servers: [server.admin] }, retention),
    runs: RUNS,
  });
});

describe('a Cluster', () => {
  let servers: RedisClusterServers;
  let keys: Cluster;
  beforeAll(async () => {
    servers = await startRedisCluster();
    keys = new Cluster(servers.masters.map(({ port }) => ({ host: '127.0.0.1', port })));
  });
  afterAll(async () => {
    keys.disconnect();
    await servers.stop();
  });

  describeBrokerContract('redis cluster', {
    open: async (retention) => {
      const admins = servers.masters.map(({ admin }) => admin);
      return openRedisHarness({ url: servers.url, keys, servers: admins }, retention);
    },
    runs: RUNS,
  });
});
