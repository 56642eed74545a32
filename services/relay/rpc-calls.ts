import { Refusal } from '#lib/server/refusal.ts';
import { BodiesOfCallers } from './bodies-of-callers.ts';
import type { UnderWay } from './under-way.ts';

/** Each call may hold a message of the largest size before we know whose it is. Anybody may call; relays are ours. */
export const MAX_STRANGERS_CALLS = 16;
/** Of one address: some are left when it holds all that it may, for as long as it likes. */
export const MAX_STRANGERS_CALLS_PER_ADDRESS = 4;
export const MAX_RELAYS_CALLS = 256;

/** How many calls of SendEnvelopes are under way, and whose. */
export class RpcCalls {
  readonly #underWay: UnderWay;
  readonly #ofStrangers = new BodiesOfCallers(MAX_STRANGERS_CALLS_PER_ADDRESS);
  #strangers = 0;
  #relays = 0;

  constructor(underWay: UnderWay) {
    this.#underWay = underWay;
  }

  /** @returns what ends it. @throws Refusal */
  beginRelay(): () => void {
    if (this.#relays >= MAX_RELAYS_CALLS) throw new Refusal('too_many_senders');
    this.#relays += 1;
    this.#underWay.begin();
    return () => {
      this.#relays -= 1;
      this.#underWay.end();
    };
  }

  /** `address` undefined: it comes past the edge. @returns what ends it. @throws Refusal */
  beginStranger(address: string | undefined): () => void {
    if (this.#strangers >= MAX_STRANGERS_CALLS) throw new Refusal('too_many_senders');
    if (address !== undefined && !this.#ofStrangers.begin(address)) throw new Refusal('too_many_senders');
    this.#strangers += 1;
    this.#underWay.begin();
    return () => {
      this.#strangers -= 1;
      if (address !== undefined) this.#ofStrangers.end(address);
      this.#underWay.end();
    };
  }
}
