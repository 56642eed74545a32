import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { programEnv } from './program-env.ts';
import { startMonolith } from './tideway.ts';

const ROOT = new URL('../../', import.meta.url);

/**
 * For a whole test run. A process writes what it compiled when it ends by itself, which services that tests kill never do:
 * two do, before the tests.
 */
export async function setup(): Promise<void> {
  // The one thing that services load only where settings say so.
  const kafka = spawn(process.execPath, ['--input-type=module', '--eval', 'await import("./lib/log/kafka-log.ts")'], {
    cwd: ROOT,
    env: programEnv(),
    stdio: 'ignore',
  });
  const ended = once(kafka, 'exit');
  const monolith = await startMonolith();
  monolith.kill('SIGTERM');
  await monolith.exited;
  await monolith.stop();
  await ended;
}
