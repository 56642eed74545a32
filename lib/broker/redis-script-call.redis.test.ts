import { expect, test } from 'vitest';
import type { PublishRate, PublishResult } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { BEFORE_ALL } from './entry-id.ts';
import { redisForEachTest } from './redis-fixture.ts';

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };

const redis = redisForEachTest();

function storedOf(results: readonly PublishResult[]): number {
  return results.filter(({ kind }) => kind === 'stored').length;
}

test('a script that Redis has forgotten, again and again, is sent to it again', async () => {
  const broker = redis.open();
  const channel = newChannel();
  for (let round = 1; round <= 3; round++) {
    const results = await Promise.all(
      Array.from({ length: 50 }, () => broker.publish(channel, newMessage(), UNLIMITED)),
    );
    expect(storedOf(results)).toBe(50);
    await redis.server.admin.script('FLUSH');
  }
  const { entries } = await broker.read(channel, BEFORE_ALL, 1000);
  expect(entries).toHaveLength(150);
});

test('what was published first is stored first, whatever it waits behind', async () => {
  const broker = redis.open();
  const channel = newChannel();
  const messages = Array.from({ length: 300 }, () => newMessage());
  // In several turns, so that some are held back behind others.
  const publishing = messages.map(async (message, n) => {
    for (let turn = 0; turn < n / 40; turn++) await new Promise(setImmediate);
    return broker.publish(channel, message, UNLIMITED);
  });
  const ids = (await Promise.all(publishing)).map((result) => (result.kind === 'stored' ? result.id : result.kind));
  const { entries } = await broker.read(channel, BEFORE_ALL, 1000);
  expect(entries.map(({ id }) => id)).toEqual(ids);
});

test('bytes of any kind and size are stored as they are', async () => {
  const broker = redis.open();
  const channel = newChannel();
  for (const size of [0, 1, 255, 4095, 4096, 16_384]) {
    const data = Buffer.from(Array.from({ length: size }, (_, n) => (n * 7 + size) % 256));
    await broker.publish(channel, newMessage({ data }), UNLIMITED);
  }
  const { entries } = await broker.read(channel, BEFORE_ALL, 10);
  expect(entries.map(({ data }) => data.length)).toEqual([0, 1, 255, 4095, 4096, 16_384]);
  for (const { data } of entries) {
    expect([...data]).toEqual(Array.from({ length: data.length }, (_, n) => (n * 7 + data.length) % 256));
  }
});

test('requests with commands in them are data', async () => {
  const broker = redis.open();
  const channel = newChannel();
  await redis.server.admin.set('kept', 'yes');
  const data = Buffer.from('\r\n*1\r\n$8\r\nFLUSHALL\r\n');
  await broker.publish(channel, newMessage({ data }), UNLIMITED);
  expect(await redis.server.admin.get('kept')).toBe('yes');
});
