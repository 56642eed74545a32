import { describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import type { Broker, ChannelKey, NewMessage, PublishRate } from './broker.ts';
import { newChannel } from './broker-harness.ts';
import { idOf, messageOf, readAll, said, startOf, textOf, tokensOf } from './coalescing-contract.ts';
import { BEFORE_ALL } from './entry-id.ts';
import { redisForEachTest } from './redis-fixture.ts';
import { channelKeys, snapshotKeys } from './redis-keys.ts';

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };

const redis = redisForEachTest();

async function store(broker: Broker, channel: ChannelKey, ...messages: NewMessage[]): Promise<void> {
  for (const message of messages) idOf(await broker.publish(channel, message, UNLIMITED));
}

/** What Redis does meanwhile: how often it is called, and what it does then. */
async function calls(action: () => Promise<unknown>): Promise<Record<string, number>> {
  const { admin } = redis.server;
  const counted = async (): Promise<Record<string, number>> =>
    Object.fromEntries(
      [...(await admin.info('commandstats')).matchAll(/cmdstat_(\S+):calls=(\d+)/g)].map(([, name, n]) => [
        name,
        Number(n),
      ]),
    );
  const before = await counted();
  await action();
  const after = await counted();
  const did = Object.entries<number>(after).map(([name, n]) => [name, n - (before[name] ?? 0)] as const);
  return Object.fromEntries(did.filter(([name, n]) => n > 0 && name !== 'info'));
}

async function bytesOut(): Promise<number> {
  return Number(/total_net_output_bytes:(\d+)/.exec(await redis.server.admin.info('stats'))?.[1]);
}

describe('what a snapshot costs', () => {
  test('10,000 tokens are read in one call, of little more than their content', async () => {
    const broker = redis.open({ reportIntervalMs: 60_000, commandTimeoutMs: 10_000 });
    const channel = newChannel();
    const { texts, messages } = tokensOf(channel, 10_000);
    await store(broker, channel, startOf(channel, 40));
    await broker.publishMany(channel, messages, UNLIMITED);
    // The first time a script is sent by its text.
    await broker.read(channel, BEFORE_ALL, 1);
    const before = await bytesOut();
    const did = await calls(() => readAll(broker, channel));
    expect(did).toMatchObject({ evalsha: 1, getrange: 1, lrange: 1 });
    expect(did['xrange']).toBeUndefined();
    // INFO itself answers with some thousand bytes.
    const contentBytes = Buffer.byteLength(texts.join(''));
    expect((await bytesOut()) - before).toBeLessThan(contentBytes + 30_000);
  });

  test('a token costs an APPEND and two TTLs; a channel that does not coalesce, nothing', async () => {
    const broker = redis.open({ reportIntervalMs: 60_000 });
    const [ordinary, other] = [newChannel(), newChannel()];
    await store(broker, ordinary, startOf(ordinary), textOf(ordinary, 'a'));
    await readAll(broker, ordinary);
    const usual = { hmget: 1, hlen: 1, xlen: 1, time: 1, xadd: 1, spublish: 1, hset: 1, pexpire: 2, evalsha: 1 };
    expect(await calls(() => store(broker, ordinary, textOf(ordinary, 'b')))).toEqual(usual);
    const usualRead = { hmget: 1, exists: 1, get: 1, xrange: 1, evalsha: 1 };
    expect(await calls(() => broker.read(ordinary, BEFORE_ALL, 10))).toEqual(usualRead);
    await store(broker, other, startOf(other, 40), textOf(other, 'a'));
    expect(await calls(() => store(broker, other, textOf(other, 'b')))).toEqual({ ...usual, append: 1, pexpire: 4 });
  });
});

describe('a snapshot of which something was lost', () => {
  const lost = ['text', 'pieces', 'index', 'log'] as const;
  test.each(lost)('%s evicted: reads give what the log has, and publishes go on', async (what) => {
    const broker = redis.open();
    const channel = newChannel();
    const keys = { ...channelKeys(channel), ...snapshotKeys(channel) };
    const reason = textOf(channel, 'r', 'reason');
    await store(broker, channel, startOf(channel, 40), textOf(channel, 'a'), textOf(channel, 'b'), reason);
    expect(said(await readAll(broker, channel)).slice(1)).toEqual(['ab', 'r']);
    await redis.server.admin.del(keys[what]);
    const entries = what === 'log' ? [] : ['a', 'b', 'r'];
    const ofLog = said(await readAll(broker, channel)).filter((text) => typeof text === 'string');
    // Without its index nobody knows that there is one.
    expect(ofLog).toEqual(entries);
    await store(broker, channel, textOf(channel, 'c'), textOf(channel, 'd'));
    const later = await readAll(broker, channel);
    expect(said(later).filter((text) => typeof text === 'string')).toEqual([...entries, 'c', 'd']);
    expect(later.at(-1)?.coalesceMs).toBe(what === 'log' ? undefined : 40);
    // It was given up, and stays so until a START begins another.
    expect(await redis.server.admin.exists(keys.text, keys.pieces)).toBe(0);
    await store(broker, channel, startOf(channel, 50), textOf(channel, 'e'), textOf(channel, 'f'));
    const again = await readAll(broker, channel);
    expect([said(again).at(-1), again.at(-1)?.coalesceMs]).toEqual(['ef', 50]);
  });

  test('what another left under its names is not taken for it', async () => {
    const broker = redis.open();
    const channel = newChannel();
    const { text, pieces } = snapshotKeys(channel);
    await redis.server.admin.set(text, 'stale');
    await redis.server.admin.rpush(pieces, 'stale');
    await store(broker, channel, startOf(channel, 40), textOf(channel, 'a'), textOf(channel, 'b'));
    expect(said(await readAll(broker, channel))[1]).toBe('ab');
  });

  test('its keys live as long as the log, sealed or not', async () => {
    const broker = redis.open();
    const channel = newChannel();
    const { text, pieces } = snapshotKeys(channel);
    const { admin } = redis.server;
    // Redis looks at its clock for each key: some milliseconds may lie between them.
    const apartMs = async () => {
      const keys = [channelKeys(channel).log, text, pieces];
      const [logMs = 0, ...othersMs] = await Promise.all(keys.map((key) => admin.pexpiretime(key)));
      expect(logMs).toBeGreaterThan(0);
      return Math.max(...othersMs.map((ms) => Math.abs(ms - logMs)));
    };
    await store(broker, channel, startOf(channel, 40), textOf(channel, 'a'));
    expect(await apartMs()).toBeLessThan(10_000);
    await store(broker, channel, textOf(channel, 'b'), messageOf(channel, { phase: Phase.END }));
    expect(await apartMs()).toBeLessThan(10_000);
  });
});
