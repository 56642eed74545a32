import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The clock of processes that were started with its settings: it can be set, while their timers go on as they do. */
export interface StepClock {
  readonly env: Readonly<Record<string, string>>;
  /** Against the clock of this machine. */
  set(offsetSec: number): void;
  stop(): void;
}

// Debian's and Ubuntu's libfaketime. Redis can't be started with it: its allocator asks for the time before it is there.
const LIBRARIES = ['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketimeMT.so.1`);

/** Undefined where libfaketime is not installed. */
export function openStepClock(): StepClock | undefined {
  const library = LIBRARIES.find((path) => existsSync(path));
  if (library === undefined) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'tideway-clock-'));
  const file = join(folder, 'offset');
  const set = (offsetSec: number) => {
    // Whole at any moment: it is read at any moment.
    writeFileSync(`${file}.new`, `${offsetSec < 0 ? '' : '+'}${offsetSec}\n`);
    renameSync(`${file}.new`, file);
  };
  set(0);
  return {
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_CACHE_DURATION: '1',
    },
    set,
    stop: () => rmSync(folder, { recursive: true, force: true }),
  };
}
