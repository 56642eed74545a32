import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Due, MAX_WAITING_TEXT_BYTES } from './due.ts';
import type { EntryId } from './entry-id.ts';

const WINDOW_MS = 50;

let due: Due<string>;
let asked: number;

const entry = (coalesceMs: number | undefined, bytes = 1) => ({
  id: '2-0' as EntryId,
  prev: '1-0' as EntryId,
  kind: 'message' as const,
  seals: false,
  data: new Uint8Array(bytes),
  coalesceMs,
});
const text = (shared: string, bytes?: number) => due.add({ entry: entry(WINDOW_MS, bytes), shared });
const other = (shared: string) => due.add({ entry: entry(undefined), shared });
const take = () => due.take().map(({ shared }) => shared);

beforeEach(() => {
  vi.useFakeTimers();
  asked = 0;
  due = new Due(() => asked++);
});
afterEach(() => {
  vi.useRealTimers();
});

describe('text', () => {
  test('is due after the turn if none was in the last window, and else when that is over', () => {
    text('a');
    text('b');
    expect([asked, due.isAsked, due.waits]).toEqual([1, true, false]);
    expect(take()).toEqual(['a', 'b']);
    vi.advanceTimersByTime(10);
    text('c');
    expect([asked, due.isAsked, due.waits]).toEqual([1, false, true]);
    vi.advanceTimersByTime(10);
    text('d');
    vi.advanceTimersByTime(29);
    expect(asked).toBe(1);
    vi.advanceTimersByTime(2);
    expect([asked, due.isAsked, due.waits]).toEqual([2, true, false]);
    expect(take()).toEqual(['c', 'd']);
    vi.advanceTimersByTime(WINDOW_MS);
    text('e');
    expect([asked, due.waits]).toEqual([3, false]);
  });

  test('goes with whatever else comes, in order, and its window begins again', () => {
    text('a');
    take();
    text('b');
    other('!');
    text('c');
    expect([asked, due.waits, vi.getTimerCount()]).toEqual([2, false, 0]);
    expect(take()).toEqual(['b', '!', 'c']);
    vi.advanceTimersByTime(WINDOW_MS - 1);
    text('d');
    expect(due.waits).toBe(true);
  });

  test('does not wait beyond its bound', () => {
    text('a');
    take();
    text('b', MAX_WAITING_TEXT_BYTES - 1);
    expect(asked).toBe(1);
    text('c');
    expect([asked, due.isAsked, vi.getTimerCount()]).toEqual([2, true, 0]);
    expect(take()).toEqual(['b', 'c']);
    // Counted anew.
    text('d');
    expect(due.waits).toBe(true);
  });

  test('has one timer, and none once it is taken', () => {
    text('a');
    take();
    for (let n = 0; n < 100; n++) text('b');
    expect(vi.getTimerCount()).toBe(1);
    expect(take()).toHaveLength(100);
    expect([vi.getTimerCount(), due.waits, due.isAsked]).toEqual([0, false, false]);
    vi.advanceTimersByTime(WINDOW_MS);
    expect(asked).toBe(1);
  });
});

test('what is not text is due after the turn, however often', () => {
  for (let n = 1; n < 4; n++) {
    other('a');
    other('b');
    expect([asked, vi.getTimerCount()]).toEqual([n, 0]);
    expect(take()).toEqual(['a', 'b']);
  }
});
