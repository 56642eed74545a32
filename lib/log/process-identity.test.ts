import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { isGone, processIdentity } from './process-identity.ts';

test.runIf(process.platform === 'linux')('a process is known by more than its number', async () => {
  const own = processIdentity();
  expect(own).toBeDefined();
  expect(isGone(own ?? '')).toBe(false);
  const child = spawn('sleep', ['60']);
  const identity = processIdentity(child.pid) ?? '';
  expect(isGone(identity)).toBe(false);
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  expect(isGone(identity)).toBe(true);
  // Another one that has its number now; one of another container.
  expect(isGone(`${own}0`)).toBe(true);
  expect(isGone((own ?? '').replace(/^[^/]*/, 'pid:[1]'))).toBe(false);
});
