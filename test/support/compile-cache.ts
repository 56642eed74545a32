import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMPILE_CACHE } from './program-env.ts';
import { startMonolith } from './tideway.ts';

/** For a whole test run. A process writes what it compiled when it ends by itself: one does, before the tests. */
export async function setup(): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-compiled-'));
  process.env[COMPILE_CACHE] = folder;
  const monolith = await startMonolith();
  monolith.kill('SIGTERM');
  await monolith.exited;
  await monolith.stop();
  return () => rm(folder, { recursive: true, force: true });
}
