const MAX = 2n ** 63n - 1n;
const MIN = -MAX - 1n;

/** A bound that somebody asked for, as the nearest that a database can compare with: it keeps nothing beyond. */
export function storableBound(value: number): bigint {
  const bound = BigInt(Math.ceil(value));
  if (bound > MAX) return MAX;
  return bound < MIN ? MIN : bound;
}

/** Whether anything can have this number. */
export function isStorable(value: bigint): boolean {
  return value >= MIN && value <= MAX;
}
