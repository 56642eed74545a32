import { expect, onTestFinished, test, vi } from 'vitest';
import { Circuits } from './circuits.ts';

test('what fails because all was closed is not asked for ever after', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  let probes = 0;
  const circuits = new Circuits({
    probe: async () => {
      probes += 1;
      throw new Error('closed');
    },
    probeIntervalMs: 10,
  });
  circuits.close();
  circuits.open('a');
  await vi.advanceTimersByTimeAsync(1_000);
  expect([probes, vi.getTimerCount(), circuits.anyOpen]).toEqual([0, 0, false]);
});
