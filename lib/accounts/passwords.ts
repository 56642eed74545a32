import { randomBytes } from 'node:crypto';
import { MAX_WAITING_HASHES } from './accounts.ts';
import { HASH_COST, type HashCost, hashPassword, verifyPassword } from './password-hash.ts';

/** More hashes are asked for than can be made. Nothing was done. */
export class TooManyHashesError extends Error {
  override readonly name = 'TooManyHashesError';
  readonly retryAfterMs = 2_000;
}

/** Two of them take 40 MiB and leave two of the four threads that Node has for files and names. */
const AT_ONCE = 2;

export interface PasswordsOptions {
  readonly cost?: HashCost;
  readonly maxWaiting?: number;
}

/** Makes and compares hashes, a few at a time. What waits is bounded, so that a flood costs no memory and no patience. */
export class Passwords {
  readonly #cost: HashCost;
  readonly #maxWaiting: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  /** Nobody's password. */
  readonly #decoy: Promise<string>;

  constructor({ cost = HASH_COST, maxWaiting = MAX_WAITING_HASHES }: PasswordsOptions = {}) {
    this.#cost = cost;
    this.#maxWaiting = maxWaiting;
    this.#decoy = hashPassword(randomBytes(32).toString('base64'), cost);
    // Whoever needs it hears of it.
    this.#decoy.catch(() => undefined);
  }

  get cost(): HashCost {
    return this.#cost;
  }

  /** @throws TooManyHashesError */
  hash(password: string): Promise<string> {
    return this.#inTurn(() => hashPassword(password, this.#cost));
  }

  /** Without a hash to compare with, does the same work for nothing, and answers false. @throws TooManyHashesError */
  async matches(password: string, encoded: string | undefined): Promise<boolean> {
    return this.#inTurn(async () => {
      const isMatch = await verifyPassword(password, encoded ?? (await this.#decoy));
      return isMatch && encoded !== undefined;
    });
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= AT_ONCE) {
      if (this.#waiting.length >= this.#maxWaiting)
        throw new TooManyHashesError('too many passwords are being checked');
      // Whoever ends hands its turn over.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running++;
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
