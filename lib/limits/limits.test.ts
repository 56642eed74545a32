import { expect, test } from 'vitest';
import { describeLimitsContract } from './limits-contract.ts';
import { newSender, taken } from './limits-testing.ts';
import { createMemoryLimits } from './memory-limits.ts';
import { openLimits } from './open-limits.ts';

describeLimitsContract(
  'memory',
  async () => {
    let nowMs = Date.now();
    return {
      limits: createMemoryLimits({ now: () => nowMs }),
      nowMs: () => nowMs,
      pass: (ms) => {
        nowMs += ms;
      },
    };
  },
  200,
);

test('in memory a bounded number of counters is kept', async () => {
  const limits = createMemoryLimits({ maxCounters: 10 });
  const senders = Array.from({ length: 30 }, () => newSender());
  const requests = senders.map((sender) => sender.request([sender.quota('key', { limit: 1, windowSec: 86_400 })]));
  await limits.take(requests);
  expect(taken(await limits.take(requests.slice(-10)))).toEqual(new Array(10).fill(false));
  expect(taken(await limits.take(requests.slice(0, 10)))).toEqual(new Array(10).fill(true));
});

test('without a URL of Redis they are in memory', async () => {
  const limits = openLimits({ redis: { redisUrl: '' } });
  expect([limits.kind, limits.state()]).toEqual(['memory', 'counting']);
  await limits.close();
});
