import { LRUCache } from 'lru-cache';
import type { Counter, Throttle } from './throttle.ts';

/** A full one forgets who was not seen for the longest time. */
const MAX_COUNTERS = 100_000;

interface Window {
  count: number;
  readonly endsMs: number;
}

export interface MemoryThrottleOptions {
  readonly maxCounters?: number;
  readonly now?: () => number;
}

/** For one process. */
export function createMemoryThrottle(options: MemoryThrottleOptions = {}): Throttle {
  const { maxCounters = MAX_COUNTERS, now = () => performance.now() } = options;
  const windows = new LRUCache<string, Window>({ max: maxCounters });

  function count({ key, limit, windowMs }: Counter): number {
    const nowMs = now();
    let window = windows.get(key);
    if (window === undefined || window.endsMs <= nowMs) {
      window = { count: 0, endsMs: nowMs + windowMs };
      windows.set(key, window);
    }
    window.count++;
    return window.count > limit ? Math.ceil(window.endsMs - nowMs) : 0;
  }

  return {
    async attempt(counters) {
      for (const counter of counters) {
        const waitMs = count(counter);
        if (waitMs > 0) return waitMs;
      }
      return undefined;
    },
    async forget({ key }) {
      windows.delete(key);
    },
  };
}
