import { readdirSync, readFileSync } from 'node:fs';

/** What one thread has run, by the kernel's account. */
export interface ThreadCpu {
  readonly name: string;
  readonly us: number;
}

/** Of every thread of a process, by its id. Linux only. */
export function threadsOf(pid: number): Map<number, ThreadCpu> {
  const threads = new Map<number, ThreadCpu>();
  for (const id of readdirSync(`/proc/${pid}/task`)) {
    try {
      const name = readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8').trim();
      const [ns = '0'] = readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ');
      threads.set(Number(id), { name: Number(id) === pid ? 'main' : name, us: Number(ns) / 1_000 });
    } catch {
      // It has ended meanwhile.
    }
  }
  return threads;
}

/** What threads ran between two looks, those of one name together. */
export function between(before: Map<number, ThreadCpu>, after: Map<number, ThreadCpu>): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [id, { name, us }] of after) {
    sums.set(name, (sums.get(name) ?? 0) + us - (before.get(id)?.us ?? 0));
  }
  return sums;
}

export function rssMb(pid: number): number {
  const [, kb = '0'] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kb) / 1024;
}
