/** An eighth of what the edge has of connections to each relay (`upstreamConnections` in envoy/limits.ts). */
export const DEFAULT_MAX_BODIES_PER_ADDRESS = 256;

/** Between two words about a caller that has all it may: an attack must not fill the log. */
const TOLD_EVERY_MS = 600_000;

/**
 * How many requests of each caller are under way, so that no one of them holds all the connections between the edge and the
 * relay: a body may take minutes, and each holds one of those. Counted by address, as anybody may make up keys.
 */
export class BodiesOfCallers {
  readonly #maxEach: number;
  readonly #onFull: (caller: string) => void;
  #toldMs = Number.NEGATIVE_INFINITY;
  /** Of those that have any. */
  readonly #counts = new Map<string, number>();

  /** `maxEach` 0: any number. `onFull` hears of a caller that has as many as it may, once in a while. */
  constructor(maxEach: number, onFull: (caller: string) => void = () => {}) {
    this.#maxEach = maxEach;
    this.#onFull = onFull;
  }

  /** How many callers have something under way. */
  get callers(): number {
    return this.#counts.size;
  }

  /** False: it has as many as it may, and this one is not counted. */
  begin(caller: string): boolean {
    if (this.#maxEach === 0) return true;
    const count = this.#counts.get(caller) ?? 0;
    if (count >= this.#maxEach) {
      this.#tell(caller);
      return false;
    }
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

  #tell(caller: string): void {
    const nowMs = performance.now();
    if (nowMs - this.#toldMs < TOLD_EVERY_MS) return;
    this.#toldMs = nowMs;
    this.#onFull(caller);
  }
}
