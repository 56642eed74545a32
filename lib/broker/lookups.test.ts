import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { until } from '../../test/support/until.ts';
import { BrokerUnavailableError } from './broker.ts';
import { Lookups } from './lookups.ts';

function setUp() {
  const asked: number[][] = [];
  const errors: unknown[] = [];
  const state = { fails: undefined as Error | undefined, during: () => {} };
  const lookups = new Lookups<number>(
    async (items) => {
      asked.push([...items]);
      state.during();
      if (state.fails) throw state.fails;
    },
    (error) => errors.push(error),
  );
  return { asked, errors, state, lookups };
}

test('what is due in one turn is asked for together, once, and in bounded pieces', async () => {
  const { asked, lookups } = setUp();
  lookups.add(1, 2);
  lookups.add(2);
  lookups.addAll(Array.from({ length: 600 }, (_, n) => n));
  lookups.forget(3);
  await until('all are asked for', () => asked.flat().length === 599);
  expect(asked.map(({ length }) => length)).toEqual([500, 99]);
  expect(new Set(asked.flat()).size).toBe(599);
});

test('what falls due again while it is asked for is asked for once more', async () => {
  const { asked, state, lookups } = setUp();
  state.during = () => {
    state.during = () => {};
    lookups.add(1);
  };
  lookups.add(1);
  await until('it was asked for twice', () => asked.length === 2);
  expect(asked).toEqual([[1], [1]]);
});

test('what the broker did not answer is asked for until it does', async () => {
  const { asked, errors, state, lookups } = setUp();
  state.fails = new BrokerUnavailableError('away');
  lookups.add(1);
  await until('it was asked for', () => asked.length === 1);
  state.fails = new Error('a bug');
  await until('it was asked for again', () => asked.length === 2);
  state.fails = undefined;
  await until('it was answered', () => asked.length === 3);
  expect([asked, errors.length]).toEqual([[[1], [1], [1]], 1]);
  lookups.close();
});

describe('what is asked for when', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test('it is forgotten is not asked for again', async () => {
    const { asked, state, lookups } = setUp();
    state.fails = new BrokerUnavailableError('away');
    state.during = () => lookups.forget(2);
    lookups.add(1, 2);
    await vi.advanceTimersByTimeAsync(1);
    await vi.advanceTimersByTimeAsync(1000);
    expect(asked).toEqual([[1, 2], [1]]);
  });

  test('all is closed leaves no timer behind', async () => {
    const { asked, state, lookups } = setUp();
    state.fails = new BrokerUnavailableError('away');
    state.during = () => lookups.close();
    lookups.add(1);
    await vi.advanceTimersByTimeAsync(1);
    expect([asked, vi.getTimerCount()]).toEqual([[[1]], 0]);
  });
});
