import { expect, test } from 'vitest';
import { TooLateError, withinOwnTime } from './own-time.ts';

function later<T>(ms: number, value: T): Promise<T> {
  return new Promise((resolve) => setTimeout(resolve, ms, value));
}

test('what is answered in time is answered', async () => {
  expect(await withinOwnTime(later(10, 'yes'), 1_000)).toBe('yes');
  await expect(withinOwnTime(Promise.reject(new Error('no')), 1_000)).rejects.toThrow('no');
});

test('what is not answered in time is too late', async () => {
  const beginMs = performance.now();
  await expect(withinOwnTime(new Promise(() => undefined), 120)).rejects.toThrow(TooLateError);
  expect(performance.now() - beginMs).toBeGreaterThan(110);
});

test('a process that stood still waits on', async () => {
  const answer = withinOwnTime(later(300, 'yes'), 400);
  const untilMs = performance.now() + 600;
  while (performance.now() < untilMs);
  expect(await answer).toBe('yes');
});
