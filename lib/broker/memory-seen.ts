import type { Identity } from './message-key.ts';

/**
 * The messages of a log, to be found again. Nearly every one has an id of its own, so that its place is by that: a text of
 * all three for each was a tenth of what a publish costs here. Those that share one are told apart behind it.
 */
export class MemorySeen<T extends Identity> {
  readonly #byId = new Map<string, T | Map<string, T>>();

  find(message: Identity): T | undefined {
    const found = this.#byId.get(message.messageId);
    if (found instanceof Map) return found.get(restOf(message));
    return found !== undefined && isSame(found, message) ? found : undefined;
  }

  /** One that is not there yet. */
  add(message: T): void {
    const found = this.#byId.get(message.messageId);
    if (found === undefined) this.#byId.set(message.messageId, message);
    else if (found instanceof Map) found.set(restOf(message), message);
    else {
      const both = new Map([
        [restOf(found), found],
        [restOf(message), message],
      ]);
      this.#byId.set(message.messageId, both);
    }
  }

  delete(message: Identity): void {
    const found = this.#byId.get(message.messageId);
    if (found instanceof Map) {
      found.delete(restOf(message));
      if (found.size > 0) return;
    }
    this.#byId.delete(message.messageId);
  }
}

function isSame(a: Identity, b: Identity): boolean {
  return a.phase === b.phase && a.sequence === b.sequence;
}

function restOf({ phase, sequence }: Identity): string {
  return `${phase}/${sequence}`;
}
