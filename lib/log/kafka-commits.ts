import type { KafkaMembership, Position } from './kafka-membership.ts';
import { within } from './within.ts';

const COMMIT_DEADLINE_MS = 10_000;

/**
 * What was handled, and the group doesn't know yet. It is told beside the next batch: a commit takes as long as a small
 * batch, and what is handled meanwhile goes with the next one.
 */
export class KafkaCommits {
  readonly #member: KafkaMembership;
  readonly #waiting = new Map<string, Position>();
  #committing: Promise<void> | undefined;
  #failure: unknown;

  constructor(member: KafkaMembership) {
    this.#member = member;
  }

  add(position: Position): void {
    this.#waiting.set(`${position.topic}/${position.partition}`, position);
    this.beginSoon();
  }

  /** Also what has failed before. */
  beginSoon(): void {
    this.#committing ??= this.#commitAll().then(
      () => {
        this.#committing = undefined;
      },
      (error: unknown) => {
        this.#committing = undefined;
        this.#failure = error;
      },
    );
  }

  /** All that was handled until now. */
  async finish(): Promise<void> {
    do {
      this.beginSoon();
      await this.#committing;
      this.throwFailure();
    } while (this.#waiting.size > 0);
  }

  throwFailure(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  async #commitAll(): Promise<void> {
    for (;;) {
      for (const [key, { topic, partition }] of this.#waiting) {
        // Of partitions that have moved to another member, its word counts.
        if (!this.#member.isAssigned(topic, partition)) this.#waiting.delete(key);
      }
      if (this.#waiting.size === 0) return;
      const positions = [...this.#waiting];
      await within(COMMIT_DEADLINE_MS, this.#member.commit(positions.map(([, position]) => position)));
      for (const [key, position] of positions) {
        if (this.#waiting.get(key) === position) this.#waiting.delete(key);
      }
    }
  }
}
