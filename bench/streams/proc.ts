import { readFileSync } from 'node:fs';

// What Linux says about processes. Elsewhere CPU and memory are NaN, and the table shows no figure.

/** User and system time of all threads. Linux counts in hundredths of a second. */
export function cpuUs(pids: readonly number[]): number {
  return sum(pids, (pid) => {
    const fields = fieldsOf(pid);
    return (Number(fields[11]) + Number(fields[12])) * 10_000;
  });
}

export function residentKiB(pids: readonly number[]): number {
  return sum(pids, (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]));
}

/** Those after the program's name, which may have blanks in it. */
function fieldsOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function sum(pids: readonly number[], of: (pid: number) => number): number {
  return process.platform === 'linux' ? pids.reduce((total, pid) => total + of(pid), 0) : Number.NaN;
}
