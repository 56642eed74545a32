import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './until.ts';

/** A small disk of its own, which can be filled. It is gone with this process, however that ends. */
export interface SmallDisk {
  readonly dir: string;
  /** Leaves no byte free. */
  fill(): void;
  free(): void;
  stop(): void;
}

// Mounted, entered and unmounted at once: only who stands in it still has it, and that process ends with its input.
const HOLD = 'mount -t tmpfs -o size="$2" tmpfs "$1" && cd "$1" && umount -l "$1" && echo held && exec cat';

/** Undefined where mounting is not permitted, as without root. */
export async function openSmallDisk(sizeBytes: number): Promise<SmallDisk | undefined> {
  const mountPoint = mkdtempSync(join(tmpdir(), 'tideway-disk-'));
  const holder = spawn('/bin/sh', ['-c', HOLD, 'sh', mountPoint, `${sizeBytes}`], {
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  let isHeld = false;
  let hasEnded = false;
  holder.stdout.once('data', () => {
    isHeld = true;
  });
  holder.once('error', () => {
    hasEnded = true;
  });
  holder.once('exit', () => {
    hasEnded = true;
  });
  await until('the disk is there, or can not be', () => isHeld || hasEnded);
  rmSync(mountPoint, { recursive: true, force: true });
  if (!isHeld) return undefined;
  const dir = `/proc/${holder.pid}/cwd`;
  const ballast = join(dir, 'ballast');
  return {
    dir,
    fill() {
      const { bavail, bsize } = statfsSync(dir);
      try {
        writeFileSync(ballast, Buffer.alloc(bavail * bsize));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    },
    free: () => rmSync(ballast, { force: true }),
    stop: () => holder.stdin.end(),
  };
}
