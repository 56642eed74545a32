import { readFileSync, readlinkSync } from 'node:fs';

const STARTED_FIELD = 19;

/**
 * A name for a process of this machine that no later one has: by it others see whether it is gone. The namespace keeps
 * containers apart, each of which has a process 1. Undefined where there is no /proc.
 */
export function processIdentity(pid: number = process.pid): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name, in parentheses, may have spaces and parentheses of its own.
    const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[STARTED_FIELD];
    return `${readlinkSync('/proc/self/ns/pid')}/${pid}/${started}`;
  } catch {
    return undefined;
  }
}

/** Whether a process has surely ended. Of those elsewhere nothing is known. */
export function isGone(identity: string): boolean {
  const [namespace, pid] = identity.split('/');
  if (processIdentity()?.split('/')[0] !== namespace) return false;
  const now = processIdentity(Number(pid));
  // A process of another user may be hidden in /proc.
  return now === undefined ? !exists(Number(pid)) : now !== identity;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
