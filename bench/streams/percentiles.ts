import type { Measured } from './jobs.ts';

export function measuredOf(count: number, samplesUs: number[]): Measured {
  samplesUs.sort((a, b) => a - b);
  const at = (share: number) => (samplesUs[Math.floor(share * (samplesUs.length - 1))] ?? Number.NaN) / 1000;
  return { count, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}

export function median(values: readonly number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? upper) + upper) / 2 : upper;
}
