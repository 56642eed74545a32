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
  circuits.open('a');
  await vi.advanceTimersByTimeAsync(25);
  expect([probes, circuits.isOpen('a')]).toEqual([2, true]);
  circuits.close();
  circuits.open('b');
  await vi.advanceTimersByTimeAsync(1_000);
  expect([probes, vi.getTimerCount()]).toEqual([2, 0]);
});
