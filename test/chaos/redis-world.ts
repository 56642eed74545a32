import { channelKey } from '#lib/broker/broker.ts';
import type { EntryId } from '#lib/broker/entry-id.ts';
import { channelKeys } from '#lib/broker/redis-keys.ts';
import type { RedisServer } from '../support/redis.ts';
import type { LogEntry } from './log-view.ts';
import type { Fault, FaultGroup } from './plan.ts';

/** A Redis deployment that can be broken. */
export interface RedisWorld {
  readonly url: string;
  readonly servers: readonly RedisServer[];
  readonly groups: readonly FaultGroup[];
  /** Breaks it, and resolves when it is whole again or about to be. */
  breakBy(fault: Fault): Promise<void>;
  /** Who has a key for certain. @throws while nobody can say */
  serverOf(key: string): Promise<RedisServer>;
  /** What can't be broken here, and why. */
  readonly notes: readonly string[];
  stop(): Promise<void>;
}

export interface Stored {
  readonly log: readonly LogEntry[];
  /** Also when the log is gone. */
  readonly isSealed: boolean;
}

/** What Redis has of a channel. */
export async function readLog(world: RedisWorld, orgId: bigint, channel: string): Promise<Stored> {
  const { log, seal } = channelKeys(channelKey(orgId, channel));
  const { admin } = await world.serverOf(log);
  const [entries, isSealed] = await inTime(Promise.all([admin.xrange(log, '-', '+'), admin.exists(seal)]));
  const read = entries.map(([id, [, prev, , key = '']]) => ({
    id: id as EntryId,
    prev: prev as EntryId,
    // `producer_lost` has none.
    sequence: Number(key.split('/')[2] ?? -1),
  }));
  return { log: read, isSealed: isSealed > 0 };
}

/** The admin connection waits for a paused or dead server for ever. */
export async function inTime<T>(answer: Promise<T>, withinMs = 2_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('Redis did not answer')), withinMs);
  });
  try {
    return await Promise.race([answer, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

/** Everything that only has to reach one server. */
export async function command(server: RedisServer, ...words: [string, ...(string | number)[]]): Promise<void> {
  const [name, ...args] = words;
  await inTime(server.admin.call(name, ...args)).catch(() => undefined);
}

type Effect = (fault: Fault) => Promise<void>;

/** What is cut on the network of a deployment with replicas. `serverFor`: whose connections. */
export function networkCuts(serverFor: (fault: Fault) => Promise<RedisServer>): {
  readonly group: FaultGroup;
  readonly effects: Readonly<Record<string, Effect>>;
} {
  const cut =
    (type: string): Effect =>
    async (fault) =>
      command(await serverFor(fault), 'CLIENT', 'KILL', 'TYPE', type);
  return {
    group: {
      name: 'network',
      kinds: ['pub/sub killed', 'connections killed', 'replication cut'],
      everyMs: [1_500, 5_000],
      forMs: [0, 0],
    },
    effects: {
      'pub/sub killed': cut('pubsub'),
      'connections killed': cut('normal'),
      'replication cut': cut('replica'),
    },
  };
}
