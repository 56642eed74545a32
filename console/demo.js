import { ApiError, startStream } from './api.js';
import { Listener } from './listener.js';
import { Publisher } from './publisher.js';
import { Tally } from './tally.js';

/**
 * One stream of the page: its publisher, its listener, one that joins late, and the comparison of both ends.
 *
 * @typedef {{ kind: 'none' | 'waiting' | 'good' | 'bad', text: string }} Verdict
 * @typedef {import('./listener.js').Handlers} Handlers
 */
export class Demo {
  /** @param {import('./api.js').Development} development */
  static async start(development) {
    return new Demo(development, await startStream(development.orgId));
  }

  /**
   * @param {import('./api.js').Development} development
   * @param {import('./api.js').Access} access
   */
  constructor(development, access) {
    this.orgId = development.orgId;
    this.access = access;
    this.publisher = new Publisher(development, access.channel_id);
    this.tally = new Tally(this.publisher.sent);
  }

  /** @type {Listener | undefined} */
  listener;
  /** @type {Listener | undefined} */
  late;
  /** True from the first attempt to publish END. */
  sealed = false;
  /** True once the listener was told that something it missed can't be had any more. */
  hasLost = false;

  /** @param {Handlers} handlers */
  listen(handlers) {
    this.listener = this.#open(handlers);
    return this.listener;
  }

  /** @param {Handlers} handlers */
  joinLate(handlers) {
    this.late?.close();
    this.late = this.#open(handlers);
    return this.late;
  }

  /** @param {Handlers} handlers */
  #open(handlers) {
    // The first token is the one at hand; it is short-lived, so every later connection gets its own.
    let first = true;
    const listener = new Listener(async () => {
      if (!first) return startStream(this.orgId, this.access.channel_id);
      first = false;
      return this.access;
    }, handlers);
    void listener.open();
    return listener;
  }

  /**
   * Publishes a text word by word. Ends early, without an error, when the demo is closed.
   * @param {string} text
   * @param {(error: ApiError) => void} onRetry
   */
  async publishText(text, onRetry) {
    for (const word of text.match(/\s*\S+\s*/g) ?? []) {
      await this.publisher.publish('PHASE_DELTA', { text: word }, onRetry);
    }
  }

  close() {
    this.publisher.stop();
    this.listener?.close();
    this.late?.close();
  }

  /** @returns {Verdict} */
  verdict() {
    const { received, missing, outOfOrder, twice, foreign } = this.tally;
    const published = this.publisher.acknowledged.length;
    const others = foreign > 0 ? ` And ${foreign} from elsewhere.` : '';
    if (published === 0) return { kind: 'none', text: 'Nothing published yet.' };
    const counts = `${published} published, ${received} received`;
    if (outOfOrder > 0 || twice > 0) {
      return { kind: 'bad', text: `${counts}: ${outOfOrder} out of order, ${twice} twice.${others}` };
    }
    if (missing > 0 && this.hasLost) {
      return { kind: 'bad', text: `${counts}: ${missing} missed, as the listener was told.${others}` };
    }
    if (missing > 0) return { kind: 'waiting', text: `${counts}: ${missing} still to come.${others}` };
    return { kind: 'good', text: `${counts}: all there, in order, none twice.${others}` };
  }
}
