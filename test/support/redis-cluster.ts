import { freePort } from './free-port.ts';
import { type RedisServer, type RedisServerOptions, startRedis } from './redis.ts';
import { until } from './until.ts';

/** A real Cluster: masters that share the slots evenly and, where asked for, a replica of each. */
export interface RedisClusterServers extends AsyncDisposable {
  readonly masters: readonly RedisServer[];
  /** In the order of their masters. */
  readonly replicas: readonly RedisServer[];
  /** One node's URL, as an operator gives it. */
  readonly url: string;
  stop(): Promise<void>;
}

const SLOTS = 16_384;
const START_TIMEOUT_MS = 30_000;

export async function startRedisCluster(
  options: RedisServerOptions & { readonly withReplicas?: boolean } = {},
): Promise<RedisClusterServers> {
  const nodes: RedisServer[] = [];
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  };
  try {
    for (let n = 0; n < (options.withReplicas ? 6 : 3); n += 1) nodes.push(await startNode(options));
    const masters = nodes.slice(0, 3);
    const replicas = nodes.slice(3);
    await joinCluster(masters, replicas);
    return { masters, replicas, url: masters[0]?.url ?? '', stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Moves a slot with its keys from one master to another, as `redis-cli --cluster reshard` does. */
export async function moveSlot(slot: number, from: RedisServer, to: RedisServer): Promise<void> {
  const [fromId, toId] = [await nodeId(from), await nodeId(to)];
  await to.admin.cluster('SETSLOT', slot, 'IMPORTING', fromId);
  await from.admin.cluster('SETSLOT', slot, 'MIGRATING', toId);
  const secret = to.password === undefined ? [] : ['AUTH', to.password];
  for (;;) {
    const keys = (await from.admin.cluster('GETKEYSINSLOT', slot, 100)) as string[];
    if (keys.length === 0) break;
    await from.admin.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, ...secret, 'KEYS', ...keys);
  }
  await to.admin.cluster('SETSLOT', slot, 'NODE', toId);
  await from.admin.cluster('SETSLOT', slot, 'NODE', toId);
}

async function startNode(options: RedisServerOptions): Promise<RedisServer> {
  const bus = ['--cluster-enabled', 'yes', '--cluster-port', `${await freePort()}`, '--cluster-node-timeout', '1000'];
  return startRedis({ ...options, args: [...bus, '--repl-diskless-sync-delay', '0', ...(options.args ?? [])] });
}

async function joinCluster(masters: readonly RedisServer[], replicas: readonly RedisServer[]): Promise<void> {
  const nodes = [...masters, ...replicas];
  for (const [n, node] of nodes.entries()) await node.admin.cluster('SET-CONFIG-EPOCH', n + 1);
  for (const [n, master] of masters.entries()) {
    const first = Math.floor((n * SLOTS) / masters.length);
    const last = Math.floor(((n + 1) * SLOTS) / masters.length) - 1;
    await master.admin.cluster('ADDSLOTSRANGE', first, last);
  }
  for (const node of nodes.slice(1)) {
    const bus = /cluster_bus_port|@(\d+)/.exec((await node.admin.cluster('NODES')) as string)?.[1] ?? '';
    await masters[0]?.admin.cluster('MEET', '127.0.0.1', node.port, bus);
  }
  const knowAll = async () => (await Promise.all(nodes.map(knownNodes))).every((known) => known === nodes.length);
  await until('all nodes know each other', knowAll, START_TIMEOUT_MS);
  for (const [n, replica] of replicas.entries()) {
    const master = masters[n];
    if (master) await replica.admin.cluster('REPLICATE', await nodeId(master));
  }
  await until('the Cluster is ok', async () => (await Promise.all(nodes.map(isOk))).every(Boolean), START_TIMEOUT_MS);
  const linked = (replica: RedisServer) =>
    replica.admin.info('replication').then((info) => info.includes('link_status:up'));
  await until(
    'replicas follow',
    async () => (await Promise.all(replicas.map(linked))).every(Boolean),
    START_TIMEOUT_MS,
  );
}

async function nodeId(node: RedisServer): Promise<string> {
  return String(await node.admin.cluster('MYID'));
}

async function knownNodes(node: RedisServer): Promise<number> {
  return ((await node.admin.cluster('NODES')) as string).trim().split('\n').length;
}

async function isOk(node: RedisServer): Promise<boolean> {
  return ((await node.admin.cluster('INFO')) as string).includes('cluster_state:ok');
}

/** The node that takes writes for a key at the moment, by the word of the nodes that live. */
export async function masterOf(cluster: RedisClusterServers, key: string): Promise<RedisServer> {
  const nodes = [...cluster.masters, ...cluster.replicas];
  for (const node of nodes) {
    if (node.admin.status !== 'ready') continue;
    const slot = await node.admin.cluster('KEYSLOT', key);
    const ranges = await node.admin.cluster('SLOTS');
    const port = ranges.find(([first, last]) => first <= slot && slot <= last)?.[2]?.[1];
    const master = nodes.find((candidate) => candidate.port === port);
    if (master !== undefined) return master;
  }
  throw new Error('no node knows a master for the key');
}
