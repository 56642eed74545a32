import { describe, expect, test } from 'vitest';
import { advance, keyOf, startCache } from './lookup-testing.ts';
import { EXPIRY_MS, MAX_BATCH_KEYS, type ProjectState } from './project-cache.ts';

const KEY = keyOf(1);
const GRACE_MS = 120_000;

describe('states', () => {
  test('an unknown key is pending, then disabled; a known one is enabled', async () => {
    const { cache, source } = startCache();
    const config = source.enable(KEY);
    expect(cache.peek(KEY)).toEqual({ kind: 'pending' });
    expect(cache.peek(keyOf(2))).toEqual({ kind: 'pending' });
    expect(source.calls).toHaveLength(0);
    await advance(5);
    expect(cache.peek(KEY)).toEqual({ kind: 'enabled', config });
    expect(cache.peek(keyOf(2))).toEqual({ kind: 'disabled' });
    expect(source.calls).toEqual([{ atMs: expect.any(Number), keys: [key(1), key(2)] }]);
  });

  test('fresh for 300 s, then used as it is while it is asked for; unchanged renews it', async () => {
    const { cache, source } = startCache();
    source.enable(KEY, 7n);
    cache.peek(KEY);
    await advance(5);
    const state = cache.peek(KEY);
    await advance(EXPIRY_MS - 10);
    expect(cache.peek(KEY)).toBe(state);
    await advance(5);
    expect(source.calls).toHaveLength(1);
    await advance(5);
    expect(cache.peek(KEY)).toBe(state);
    await advance(5);
    expect(source.calls[1]?.keys).toEqual([key(1, 7n)]);
    await advance(EXPIRY_MS - 20);
    expect(cache.peek(KEY)).toBe(state);
    await advance(5);
    expect(source.calls).toHaveLength(2);
  });

  test('while it is asked for the old state holds; a failure changes nothing', async () => {
    const { cache, source } = startCache();
    source.enable(KEY, 1n);
    cache.peek(KEY);
    await advance(5);
    source.enable(KEY, 2n);
    for (const mode of ['away', 'unavailable', 'pending', 'hangs'] as const) {
      source.mode = mode;
      await advance(mode === 'away' ? EXPIRY_MS : 10_000);
      expect(cache.peek(KEY)).toMatchObject({ kind: 'enabled', config: { revision: 1n } });
    }
    source.mode = 'answers';
    await advance(60_000);
    expect(cache.peek(KEY)).toMatchObject({ kind: 'enabled', config: { revision: 2n } });
  });

  test.each(['enabled', 'disabled'] as const)(
    'during grace what was %s stays so; then it is unknown again',
    async (kind) => {
      const { cache, source } = startCache();
      if (kind === 'enabled') source.enable(KEY);
      cache.peek(KEY);
      await advance(5);
      source.mode = 'away';
      await advance(EXPIRY_MS + GRACE_MS - 10);
      expect(cache.peek(KEY).kind).toBe(kind);
      await advance(10);
      expect(cache.peek(KEY).kind).toBe('pending');
      source.mode = 'answers';
      await advance(60_000);
      expect(cache.peek(KEY).kind).toBe(kind);
    },
  );

  test('what was pushed out while it was asked about is asked for whole', async () => {
    const { cache, source } = startCache({ maxProjects: 2 });
    for (const n of [1, 2, 3]) source.enable(keyOf(n), 5n);
    cache.peek(KEY);
    await advance(5);
    await advance(EXPIRY_MS);
    source.latencyMs = 50;
    cache.peek(KEY);
    await advance(10);
    source.latencyMs = 0;
    cache.peek(keyOf(2));
    await advance(10);
    cache.peek(keyOf(3));
    await advance(10);
    expect(source.calls.at(1)?.keys).toEqual([key(1, 5n)]);
    await advance(200);
    expect(source.calls.at(-1)?.keys).toEqual([key(1, 0n)]);
    expect(cache.peek(KEY).kind).toBe('enabled');
  });
});

describe('get', () => {
  test('waits for the answer, however many do; one request', async () => {
    const { cache, source } = startCache();
    source.enable(KEY);
    source.latencyMs = 100;
    const gets = Array.from({ length: 50 }, () => cache.get(KEY, 1_000));
    await advance(105);
    for (const state of await Promise.all(gets)) expect(state.kind).toBe('enabled');
    expect(source.calls).toHaveLength(1);
    expect((await cache.get(KEY, 0)).kind).toBe('enabled');
  });

  test('pending after its time, and when the cache closes', async () => {
    const { cache, source } = startCache();
    source.mode = 'away';
    const get = cache.get(KEY, 300);
    await advance(299);
    source.mode = 'pending';
    await advance(1);
    expect(await get).toEqual({ kind: 'pending' });
    const other = cache.get(KEY, 10_000);
    cache.close();
    expect(await other).toEqual({ kind: 'pending' });
    expect(source.isClosed).toBe(true);
  });

  test('with too many keys asked for it still ends', async () => {
    const { cache, source } = startCache({ maxProjects: 2 });
    source.mode = 'pending';
    cache.peek(keyOf(2));
    cache.peek(keyOf(3));
    const get = cache.get(KEY, 300);
    await advance(300);
    expect(await get).toEqual({ kind: 'pending' });
    expect(source.calls.flatMap(({ keys }) => keys)).not.toContainEqual(key(1));
  });

  test('one that there was no place for is asked for when there is', async () => {
    const { cache, source } = startCache({ maxProjects: 2 });
    source.mode = 'pending';
    source.enable(KEY);
    cache.peek(keyOf(2));
    cache.peek(keyOf(3));
    let state: ProjectState | undefined;
    void cache.get(KEY, 30_000).then((answer) => {
      state = answer;
    });
    await advance(1_000);
    source.mode = 'answers';
    await advance(3_000);
    expect(state?.kind).toBe('enabled');
  });

  test('one that the source could not know for long is known before who waits gives up', async () => {
    const { cache, source } = startCache();
    source.enable(KEY);
    source.mode = 'unavailable';
    const ask = async (ms: number) => {
      cache.peek(KEY);
      await advance(ms);
    };
    for (let n = 0; n < 600; n += 1) await ask(1_000);
    // At the beginning of its longest pause.
    for (const before = source.calls.length; source.calls.length === before; ) await ask(10);
    source.mode = 'answers';
    const get = cache.get(KEY, 30_000);
    await advance(30_000);
    expect((await get).kind).toBe('enabled');
  });
});

describe('requests', () => {
  test('batches of 500, five at a time, one request a key', async () => {
    const { cache, source } = startCache();
    source.latencyMs = 40;
    for (let n = 0; n < 3_200; n += 1) cache.peek(keyOf(n));
    await advance(10);
    for (let n = 0; n < 3_200; n += 1) cache.peek(keyOf(n));
    await advance(100);
    expect(source.calls.map(({ keys }) => keys.length)).toEqual([500, 500, 500, 500, 500, 500, 200]);
    expect(source.mostRunning).toBe(5);
    expect(source.problems).toEqual([]);
    for (let n = 0; n < 3_200; n += 1) expect(cache.peek(keyOf(n)).kind).toBe('disabled');
  });

  test('a failed batch: again at once, after 1 s, then 1.5 times as long up to 60 s; a success begins anew', async () => {
    const { cache, source, errors } = startCache({ queryTimeoutMs: 10_000_000 });
    source.mode = 'away';
    cache.peek(KEY);
    await advance(400_000);
    const times = source.calls.map(({ atMs }) => atMs);
    const pauses = times.slice(1).map((atMs, n) => Math.round(atMs - (times[n] ?? 0)));
    expect(pauses.slice(0, 6)).toEqual([1, 1000, 1500, 2250, 3375, 5062]);
    expect(Math.max(...pauses)).toBe(60_000);
    expect(errors).toHaveLength(times.length);
    source.mode = 'answers';
    await advance(60_000);
    expect(cache.peek(KEY).kind).toBe('disabled');
    source.mode = 'away';
    source.calls.length = 0;
    cache.peek(keyOf(2));
    await advance(500);
    expect(source.calls).toHaveLength(2);
  });

  test('while it fails one batch at a time is tried, and keys keep their places', async () => {
    const { cache, source, errors } = startCache();
    source.mode = 'away';
    source.latencyMs = 10;
    for (let n = 0; n < 2_500; n += 1) cache.peek(keyOf(n));
    await advance(20);
    expect([source.calls.length, errors.length]).toEqual([6, 1]);
    await advance(1_200);
    expect([source.calls.length, errors.length]).toEqual([7, 3]);
    source.mode = 'answers';
    await advance(5_000);
    for (let n = 0; n < 2_500; n += 1) expect(cache.peek(keyOf(n)).kind).toBe('disabled');
    expect(source.problems).toEqual([]);
  });

  test('pending answers are asked for again soon, then less often; unavailable ones after a second', async () => {
    const { cache, source, errors } = startCache();
    const pausesOf = async (ms: number) => {
      source.calls.length = 0;
      cache.peek(KEY);
      await advance(ms);
      const times = source.calls.map(({ atMs }) => atMs);
      return times.slice(1).map((atMs, n) => Math.round(atMs - (times[n] ?? 0)));
    };
    source.mode = 'pending';
    expect(await pausesOf(1_000)).toEqual([105, 155, 230, 342]);
    source.mode = 'answers';
    await advance(2_000);
    source.projects.set(KEY, source.enable(KEY));
    await advance(EXPIRY_MS);
    source.mode = 'unavailable';
    expect(await pausesOf(5_000)).toEqual([1005, 1505, 2255]);
    expect(errors).toEqual([]);
  });

  test('a source that never answers takes no place for ever', async () => {
    const { cache, source, errors } = startCache();
    source.mode = 'hangs';
    cache.peek(KEY);
    await advance(29_000);
    cache.peek(KEY);
    source.mode = 'answers';
    await advance(2_000);
    expect(errors).toEqual([expect.objectContaining({ message: expect.stringContaining('in time') })]);
    expect(cache.peek(KEY).kind).toBe('disabled');
  });

  test('what nobody wants any more is not asked for any more', async () => {
    const { cache, source } = startCache();
    source.mode = 'pending';
    cache.peek(KEY);
    await advance(60_000);
    const asked = source.calls.length;
    await advance(60_000);
    expect(source.calls).toHaveLength(asked);
    source.mode = 'answers';
    cache.peek(KEY);
    await advance(5);
    expect(cache.peek(KEY).kind).toBe('disabled');
  });

  test('closed, it asks nothing', async () => {
    const { cache, source } = startCache();
    cache.peek(KEY);
    cache.close();
    cache.peek(keyOf(2));
    await advance(1_000);
    expect(source.calls).toEqual([]);
  });
});

describe('watching', () => {
  test('a change is asked for at once; of what is not known nothing is', async () => {
    const { cache, source } = startCache();
    source.enable(KEY);
    cache.peek(KEY);
    await advance(5);
    source.projects.delete(KEY);
    source.onChange([KEY, keyOf(2)]);
    expect(cache.peek(KEY).kind).toBe('enabled');
    await advance(5);
    expect(cache.peek(KEY).kind).toBe('disabled');
    expect(source.calls.map(({ keys }) => keys)).toEqual([[key(1)], [key(1, 1n)]]);
  });

  test.each(['something changed', 'all may have changed'])(
    'an answer that was on its way when %s is asked for again, and stale until then',
    async (what) => {
      const { cache, source } = startCache();
      source.enable(KEY);
      source.latencyMs = 50;
      cache.peek(KEY);
      await advance(10);
      source.projects.delete(KEY);
      if (what === 'something changed') source.onChange([KEY]);
      else source.onReset();
      await advance(45);
      expect(cache.peek(KEY).kind).toBe('enabled');
      await advance(60);
      expect(cache.peek(KEY).kind).toBe('disabled');
    },
  );

  test('what changed while the source went away is used for its grace, no longer', async () => {
    const { cache, source } = startCache();
    source.enable(KEY);
    cache.peek(KEY);
    await advance(5);
    source.mode = 'away';
    source.onChange([KEY]);
    await advance(GRACE_MS - 10);
    expect(cache.peek(KEY).kind).toBe('enabled');
    await advance(20);
    expect(cache.peek(KEY).kind).toBe('pending');
  });

  test('a sign of life ends the pause after failures', async () => {
    const { cache, source } = startCache();
    source.mode = 'away';
    void cache.get(KEY, 1_000_000);
    await advance(100_000);
    source.mode = 'answers';
    source.onChange([]);
    await advance(5);
    expect(cache.peek(KEY).kind).toBe('disabled');
  });

  test('a reset: everything is used and asked for again, a batch at a time, what is in use first', async () => {
    const { cache, source } = startCache();
    const count = 5_000;
    for (let n = 0; n < count; n += 1) source.enable(keyOf(n));
    for (let n = 0; n < count; n += 1) cache.peek(keyOf(n));
    await advance(100);
    source.calls.length = 0;
    for (let n = 0; n < count; n += 1) source.projects.delete(keyOf(n));
    source.onReset();
    expect(cache.peek(KEY).kind).toBe('enabled');
    await advance(20);
    const soon = source.calls.reduce((sum, { keys }) => sum + keys.length, 0);
    expect(soon).toBeLessThanOrEqual(2 * MAX_BATCH_KEYS);
    expect(cache.peek(KEY).kind).toBe('disabled');
    await advance(2_000);
    expect(source.mostRunning).toBeLessThanOrEqual(5);
    const asked = source.calls.flatMap(({ keys }) => keys.map(({ publicKey }) => publicKey));
    expect(asked).toHaveLength(count);
    expect(new Set(asked).size).toBe(count);
    for (let n = 0; n < count; n += 1) expect(cache.peek(keyOf(n)).kind).toBe('disabled');
  });
});

describe('bounds', () => {
  test('what was used least recently goes first', async () => {
    const { cache } = startCache({ maxProjects: 100 });
    for (let n = 0; n < 100; n += 1) cache.peek(keyOf(n));
    await advance(10);
    cache.peek(keyOf(0));
    cache.peek(keyOf(100));
    await advance(10);
    expect(cache.peek(keyOf(0)).kind).toBe('disabled');
    expect(cache.peek(keyOf(1)).kind).toBe('pending');
  });
});

function key(n: number, revision = 0n) {
  return { publicKey: keyOf(n), revision };
}
