import { setTimeout as delay } from 'node:timers/promises';
import type { RedisServer } from '../support/redis.ts';
import type { Fault, FaultGroup } from './plan.ts';
import { inTime } from './redis-world.ts';

const HOUR_SEC = 3_600;
/** What one takes for the other after a step: the server's own answer, and ours. */
const TOLERANCE_SEC = 10;

/** Redis' own clocks, each server's for itself: set, and back after a while. */
export function redisClockFaults(servers: readonly RedisServer[]) {
  const leaps = new Leaps();
  const serverOf = ({ choice }: Fault) => servers[choice % servers.length] as RedisServer;
  const step = async (server: RedisServer, offsetSec: number, forMs: number) => {
    server.clock?.set(offsetSec);
    await expectClock(server, offsetSec);
    await delay(forMs);
    server.clock?.set(0);
    await expectClock(server, 0);
  };
  const [SET, LEAPT] = ['redis clock set', 'redis clock set by an hour'] as const;
  const effects: Record<string, (fault: Fault) => Promise<void>> = {
    // By less than what an ended stream has left, however many follow each other: no log goes.
    [SET]: (fault) => step(serverOf(fault), (fault.choice % 41) - 20, fault.forMs),
    // Further than an open log lives. Each step ahead, also that back from an hour ago, takes logs with it.
    [LEAPT]: (fault) =>
      leaps.while(() => step(serverOf(fault), fault.choice % 2 === 0 ? HOUR_SEC : -HOUR_SEC, fault.forMs)),
  };
  const canBeSet = servers.every(({ clock }) => clock !== undefined);
  // Leaps are seldom, so that most streams live to their end.
  const kinds = [SET, SET, SET, SET, LEAPT];
  const groups: FaultGroup[] = [{ name: 'redis clock', kinds, everyMs: [3_000, 12_000], forMs: [500, 4_000] }];
  return {
    groups: canBeSet ? groups : [],
    leaps,
    notes: canBeSet ? [] : ["libfaketime is not installed, or Redis does not start with it: Redis' clocks are not set"],
    breakBy: async (fault: Fault) => effects[fault.kind]?.(fault),
  };
}

/** When the clock of a server leapt so far that every log there may have expired. */
export class Leaps {
  #underWay = 0;
  #latestEndMs = Number.NEGATIVE_INFINITY;

  async while(leap: () => Promise<void>): Promise<void> {
    this.#underWay += 1;
    try {
      await leap();
    } finally {
      this.#underWay -= 1;
      this.#latestEndMs = performance.now();
    }
  }

  /** Whether there was one at or after that moment, by performance.now(). */
  since(atMs: number): boolean {
    return this.#underWay > 0 || atMs <= this.#latestEndMs;
  }
}

/** @throws if the server answers, and by another clock: nothing would have been tried. */
async function expectClock({ admin }: RedisServer, offsetSec: number): Promise<void> {
  const [seconds] = await inTime(admin.time()).catch(() => []);
  if (seconds === undefined) return;
  const isSec = Number(seconds) - Date.now() / 1_000;
  if (Math.abs(isSec - offsetSec) > TOLERANCE_SEC) {
    throw new Error(`a Redis whose clock was set by ${offsetSec} s is at ${Math.round(isSec)} s`);
  }
}
