/**
 * What of one channel was refused and is worth sending again. It has to come again, in its order, before anything else does:
 * else what was sent ahead behind it would be stored without it.
 *
 * A message that comes again need not be an answer to the refusal: a publisher may have sent it twice before it was told. So
 * it lets nothing pass but itself; what stood between the two has to come again as well.
 */
export class HeldMessages {
  /** By key; the first is the one that has to come. */
  #refused = new Set<string>();
  /** Those that came again, while others have not: to be repeated once more they need not wait for those. */
  readonly #passed = new Set<string>();

  /** How many are remembered. */
  get size(): number {
    return this.#refused.size + this.#passed.size;
  }

  /** Whether this message may be stored now. Otherwise it has to come again, too. */
  pass(key: string): boolean {
    if (this.#refused.size === 0 || this.#passed.has(key)) return true;
    const [first] = this.#refused;
    if (key !== first) {
      this.#refused.add(key);
      return false;
    }
    this.#refused.delete(key);
    if (this.#refused.size > 0) this.#passed.add(key);
    else this.#passed.clear();
    return true;
  }

  /** These went ahead together, and were refused: they come before all others. */
  refuse(keys: readonly string[]): void {
    for (const key of keys) this.#passed.delete(key);
    this.#refused = new Set([...keys, ...this.#refused]);
  }

  /** Makes room: a repetition of what came again has to wait for its turn, then. */
  forgetPassed(): void {
    this.#passed.clear();
  }
}
