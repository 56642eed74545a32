import { afterEach, expect, test, vi } from 'vitest';
import { channelKey, SEAL_OUTLIVES_LOG_MS } from '#lib/broker/broker.ts';
import { newMessage } from '#lib/broker/broker-harness.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { activeTimers, aliveObjects, Churn } from './churn-testing.ts';

/** CHURN_CHANNELS=100000 is the long form. */
const CHANNELS = Number(process.env['CHURN_CHANNELS'] ?? 2_000);
/** What the test runner, and what is just being done, may have more or fewer of. */
const UNRELATED = 20;
const MAX_TOTAL_BYTES = CHANNELS * 8 * 1024;
/** Of the one log that is there in the end. */
const LOG_BYTES = 2 * 1024;

afterEach(() => void vi.useRealTimers());

test(`${CHANNELS} channels come and go, and nothing of them is left`, async () => {
  // Sweeps come when they are called for.
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const before = { alive: aliveObjects(), timers: activeTimers() };
  let nowMs = Date.UTC(2026, 0, 1);
  const broker = createMemoryBroker({ now: () => nowMs, maxTotalBytes: MAX_TOTAL_BYTES });
  const churn = new Churn(broker);
  await churn.run(CHANNELS);
  // Half of those without END are ended as idle, the others wait for their TTL.
  nowMs += 150_000;
  expect(await broker.endIdle(120_000, CHANNELS / 4)).toMatchObject({ examined: CHANNELS / 4 });
  nowMs += 2 * SEAL_OUTLIVES_LOG_MS;
  await vi.advanceTimersByTimeAsync(20_000);

  await vi.waitFor(() => expect(churn.left).toEqual({ followed: 0, listeners: 0, held: 0 }));
  // What the broker counts of its room is nothing again, seals included.
  const data = new Uint8Array(MAX_TOTAL_BYTES - LOG_BYTES);
  const whole = broker.publish(channelKey(1n, crypto.randomUUID()), newMessage({ data }), { name: 'unary', perSec: 0 });
  expect(await whole).toMatchObject({ kind: 'stored' });
  // What was replayed is kept for a moment, within bounds, and forgotten at the latest now.
  churn.close();
  expect(aliveObjects()).toBeLessThan(before.alive + UNRELATED);
  expect(activeTimers()).toBeLessThan(before.timers + UNRELATED);
  await broker.close();
});
