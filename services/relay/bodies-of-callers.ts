/** An eighth of what the edge has of connections to a relay (`upstreamConnections` in envoy/limits.ts). */
export const DEFAULT_MAX_BODIES_PER_ADDRESS = 256;

/**
 * How many requests of each caller are under way, so that no one of them holds all the connections between the edge and the
 * relay: a body may take minutes, and each holds one of those. Counted by address, as anybody may make up keys.
 */
export class BodiesOfCallers {
  readonly #maxEach: number;
  /** Of those that have any. */
  readonly #counts = new Map<string, number>();

  /** `maxEach` 0: any number. */
  constructor(maxEach: number) {
    this.#maxEach = maxEach;
  }

  /** How many callers have something under way. */
  get callers(): number {
    return this.#counts.size;
  }

  /** False: it has as many as it may, and this one is not counted. */
  begin(caller: string): boolean {
    if (this.#maxEach === 0) return true;
    const count = this.#counts.get(caller) ?? 0;
    if (count >= this.#maxEach) return false;
    this.#counts.set(caller, count + 1);
    return true;
  }

  /** What {@link begin} has counted is over. */
  end(caller: string): void {
    if (this.#maxEach === 0) return;
    const count = this.#counts.get(caller) ?? 0;
    if (count > 1) this.#counts.set(caller, count - 1);
    else this.#counts.delete(caller);
  }
}
