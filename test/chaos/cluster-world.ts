import { setTimeout as delay } from 'node:timers/promises';
import type { RedisServer } from '../support/redis.ts';
import { moveSlot, startRedisCluster } from '../support/redis-cluster.ts';
import { until } from '../support/until.ts';
import type { Fault } from './plan.ts';
import { command, inTime, networkCuts, type RedisWorld } from './redis-world.ts';

const WHOLE_DEADLINE_MS = 40_000;

/** Three primaries, each with a replica, all with appendonly. */
export async function startClusterWorld(): Promise<RedisWorld> {
  const cluster = await startRedisCluster({
    withReplicas: true,
    ownClock: true,
    args: ['--appendonly', 'yes', '--cluster-require-full-coverage', 'no'],
  });
  const nodes = [...cluster.masters, ...cluster.replicas];
  const roleOf = async (node: RedisServer) => ((await inTime(node.admin.role())) as string[])[0];
  const primaries = async () => {
    const roles = await Promise.all(nodes.map((node) => roleOf(node).catch(() => 'away')));
    return nodes.filter((_, n) => roles[n] === 'master');
  };
  const chosen = async (choice: number) => {
    const all = await primaries();
    return all[choice % all.length] as RedisServer;
  };
  const isWhole = async (node: RedisServer) => {
    const info = await inTime(node.admin.info('replication'));
    const state = String(await inTime(node.admin.cluster('INFO')));
    return (
      state.includes('cluster_state:ok') && (info.includes('connected_slaves:1') || info.includes('link_status:up'))
    );
  };
  const untilWhole = () =>
    until(
      'every primary has its replica',
      async () => (await Promise.all(nodes.map(isWhole))).every(Boolean),
      WHOLE_DEADLINE_MS,
    );

  const network = networkCuts(({ choice }) => chosen(choice));
  const effects: Record<string, (fault: Fault) => Promise<void>> = {
    ...network.effects,
    'primary killed': async ({ forMs, choice }) => {
      const killed = await chosen(choice);
      await killed.kill();
      await delay(2_000 + forMs);
      await killed.restart();
      await untilWhole();
    },
    'failover asked for': async ({ choice }) => {
      const all = await primaries();
      const replicas = nodes.filter((node) => !all.includes(node));
      await command(replicas[choice % replicas.length] as RedisServer, 'CLUSTER', 'FAILOVER');
      await delay(1_000);
      await untilWhole();
    },
    'primary paused': async ({ forMs, choice }) => {
      const paused = await chosen(choice);
      paused.pause();
      await delay(forMs);
      paused.resume();
      await untilWhole();
    },
    'slots moved': async ({ choice }) => {
      const all = await primaries();
      const from = all[choice % all.length] as RedisServer;
      const to = all[(choice + 1) % all.length] as RedisServer;
      // Those that have something to lose.
      const keys = await inTime(from.admin.keys('tideway:{*}:log'));
      for (const key of keys.slice(0, 3)) {
        await inTime(moveSlot(Number(await from.admin.cluster('KEYSLOT', key)), from, to), 10_000);
      }
    },
  };
  return {
    url: cluster.url,
    servers: nodes,
    groups: [
      {
        name: 'redis',
        kinds: ['primary killed', 'failover asked for', 'primary paused', 'slots moved'],
        everyMs: [3_000, 6_000],
        forMs: [200, 4_000],
      },
      network.group,
    ],
    breakBy: async (fault) => effects[fault.kind]?.(fault),
    async serverOf(key) {
      for (const node of await primaries()) {
        // A primary that does not have the slot says MOVED.
        const has = await inTime(node.admin.exists(key)).then(
          () => true,
          () => false,
        );
        if (has) return node;
      }
      throw new Error('no node has the slot');
    },
    notes: [],
    stop: () => cluster.stop(),
  };
}
