import type { Writable } from 'node:stream';

const turns = new WeakMap<Writable, RedisTurns>();

/**
 * For a Cluster. Makes one write of the commands that come to a connection in one turn, and the next one of those that come until it is
 * answered. A write costs this process and Redis more than a command does; the busier they are, the more commands go in one.
 *
 * Nothing waits for what never comes: Redis answers in order, and a connection on which it says nothing ends by its timeout.
 */
export class RedisTurns {
  readonly #socket: Writable;
  #unanswered = 0;
  #held = 0;
  #isDue = false;

  private constructor(socket: Writable) {
    this.#socket = socket;
  }

  static of(socket: Writable): RedisTurns {
    let found = turns.get(socket);
    if (found === undefined) {
      found = new RedisTurns(socket);
      turns.set(socket, found);
    }
    return found;
  }

  /** A command is about to be written. */
  enter(): void {
    if (this.#held === 0) {
      this.#socket.cork();
      if (this.#unanswered === 0) this.#sendAtEndOfTurn();
    }
    this.#held += 1;
  }

  /** It was answered, or its connection is gone, and this with it. */
  leave(): void {
    this.#unanswered -= 1;
    if (this.#unanswered === 0 && this.#held > 0) this.#sendAtEndOfTurn();
  }

  #sendAtEndOfTurn(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#unanswered += this.#held;
      this.#held = 0;
      this.#socket.uncork();
    });
  }
}
