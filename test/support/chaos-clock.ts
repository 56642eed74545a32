import { execFile } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFakeTime } from '../../scripts/lib/system-programs.mjs';

/** The clock of processes that were started with its settings: it can be set, while their timers go on as they do. */
export interface StepClock {
  readonly env: Readonly<Record<string, string>>;
  /** Against the clock of this machine. */
  set(offsetSec: number): void;
  stop(): void;
}

const TRY_TIMEOUT_MS = 10_000;

/** Undefined where libfaketime is not installed. */
export function openStepClock(): StepClock | undefined {
  const library = findFakeTime();
  // Asking the file anew for each look at the clock would be most of what a service does.
  return library === undefined ? undefined : openClock({ LD_PRELOAD: library, FAKETIME_CACHE_DURATION: '1' });
}

/** For a Redis server. Undefined where libfaketime is not installed, or Redis doesn't start with it. */
export async function openRedisClock(): Promise<StepClock | undefined> {
  const library = findFakeTime();
  if (library === undefined) return undefined;
  // Its allocator, jemalloc, asks for the time before libfaketime is there, for ever. The C library's stands in for it.
  const clock = openClock({ LD_PRELOAD: `${library}:libc.so.6`, FAKETIME_NO_CACHE: '1' });
  redisStarts ??= starts(clock.env);
  if (await redisStarts) return clock;
  clock.stop();
  return undefined;
}

let redisStarts: Promise<boolean> | undefined;

function starts(env: Readonly<Record<string, string>>): Promise<boolean> {
  const options = { env: { ...process.env, ...env }, timeout: TRY_TIMEOUT_MS, killSignal: 'SIGKILL' } as const;
  return new Promise((resolve) => {
    execFile('redis-server', ['--version'], options, (error) => resolve(error === null));
  });
}

function openClock(env: Readonly<Record<string, string>>): StepClock {
  const folder = mkdtempSync(join(tmpdir(), 'tideway-clock-'));
  const file = join(folder, 'offset');
  const set = (offsetSec: number) => {
    // Whole at any moment: it is read at any moment.
    writeFileSync(`${file}.new`, `${offsetSec < 0 ? '' : '+'}${offsetSec}\n`);
    renameSync(`${file}.new`, file);
  };
  set(0);
  return {
    env: { ...env, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_DONT_FAKE_MONOTONIC: '1' },
    set,
    stop: () => rmSync(folder, { recursive: true, force: true }),
  };
}
