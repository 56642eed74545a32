import type { RedisServer } from './redis.ts';

export type RedisDump = ReadonlyMap<string, Buffer>;

/** What a server has, for {@link setBackTo}. */
export async function dumpOf({ admin }: RedisServer): Promise<RedisDump> {
  const dump = new Map<string, Buffer>();
  for (const key of await admin.keys('*')) {
    const value = await admin.dumpBuffer(key);
    if (value !== null) dump.set(key, value);
  }
  return dump;
}

/** All at once, as a server comes back with what it had saved. Keys last for a minute. */
export async function setBackTo(dump: RedisDump, { admin }: RedisServer): Promise<void> {
  const all = admin.multi().flushall();
  for (const [key, value] of dump) all.restore(key, 60_000, value);
  await all.exec();
}
