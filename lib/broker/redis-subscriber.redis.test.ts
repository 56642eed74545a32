import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import { redisForEachTest } from './redis-fixture.ts';
import { ShardSubscriber } from './redis-shard-subscriber.ts';

const redis = redisForEachTest();

function subscriber() {
  const client = new Redis(redis.server.url, { autoResubscribe: false, maxRetriesPerRequest: 0 });
  const seen = { standing: [] as string[], heard: [] as string[], refused: 0 };
  const subject = new ShardSubscriber(client, () => 0, {
    onMessage: (live, message) => seen.heard.push(`${live} ${message}`),
    onStanding: (standing) => seen.standing.push(...standing),
    onLost: () => undefined,
    onRefused: () => {
      seen.refused += 1;
    },
  });
  onTestFinished(() => subject.close());
  return { client, subject, seen };
}

const subscribed = async () => (await redis.server.admin.call('PUBSUB', 'SHARDCHANNELS')) as string[];

test('what is given up and wanted again while it is asked for stands when the last question is answered', async () => {
  const { client, subject, seen } = subscriber();
  await until('it is connected', () => client.status === 'ready');
  subject.want('a');
  subject.unwant('a');
  subject.want('a');
  await until('it stands', () => seen.standing.length > 0);
  expect(await subscribed()).toEqual(['a']);
  await redis.server.admin.spublish('a', '1');
  await until('it is heard', () => seen.heard.length === 1);
  expect(seen).toEqual({ standing: ['a'], heard: ['a 1'], refused: 0 });
});

test('what is given up between a refusal and the next question is no more subscribed', async () => {
  const { client, subject, seen } = subscriber();
  await until('it is connected', () => client.status === 'ready');
  subject.want('a');
  await until('it stands', () => seen.standing.length === 1);
  // As a server says it that has given a slot away: all are asked for again, a little later.
  client.emit('moved');
  subject.unwant('a');
  await until('it is not subscribed', async () => (await subscribed()).length === 0);
});
