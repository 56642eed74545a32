import { ApiError, publish } from './api.js';

/** Ten messages a second: half of what a channel takes. */
const PUBLISH_EVERY_MS = 100;
const ATTEMPTS = 8;

/**
 * @typedef {object} Sent One message of this page.
 * @property {string} messageId
 * @property {number} sequence
 * @property {string} phase
 * @property {number} sentAtMs
 * @property {string | undefined} id Undefined until it is acknowledged.
 */

/**
 * Publishes to one channel: one message after the other, so that they keep their order, and each again under the same
 * message id until it is acknowledged, so that it is stored once.
 */
export class Publisher {
  #development;
  #channelId;
  #stopped = new AbortController();
  #nextAtMs = 0;
  #sequence = 0;

  /** Every message in the order sent, by its id. Kept before the answer, as it may be received before. @type {Map<string, Sent>} */
  sent = new Map();

  /**
   * @param {import('./api.js').Development} development
   * @param {string} channelId
   */
  constructor(development, channelId) {
    this.#development = development;
    this.#channelId = channelId;
  }

  /** Nothing more is sent; what is under way fails. */
  stop() {
    this.#stopped.abort(new ApiError('Stopped.', 499));
  }

  get stopped() {
    return this.#stopped.signal.aborted;
  }

  get acknowledged() {
    return [...this.sent.values()].filter((sent) => sent.id !== undefined);
  }

  /**
   * @param {string} phase
   * @param {{ text: string }} [payload]
   * @param {(error: ApiError) => void} [onRetry]
   * @returns {Promise<Sent>}
   */
  async publish(phase, payload, onRetry = () => {}) {
    await wait(this.#nextAtMs - performance.now(), this.#stopped.signal);
    this.#nextAtMs = performance.now() + PUBLISH_EVERY_MS;
    /** @type {Sent} */
    const sent = {
      messageId: newUuid(),
      sequence: this.#sequence++,
      phase,
      sentAtMs: performance.now(),
      id: undefined,
    };
    this.sent.set(sent.messageId, sent);
    const message = {
      channel_id: this.#channelId,
      message_id: sent.messageId,
      phase,
      sequence: String(sent.sequence),
      ...(payload && { payload }),
    };
    for (let attempt = 1; ; attempt++) {
      try {
        sent.id = (await publish(this.#development, message)).id;
        return sent;
      } catch (error) {
        if (!(error instanceof ApiError) || !error.passes || attempt === ATTEMPTS) throw error;
        onRetry(error);
        await wait(Math.min(4_000, 250 * 2 ** attempt) * (0.5 + Math.random() / 2), this.#stopped.signal);
      }
    }
  }
}

/** A version 4 UUID. `crypto.randomUUID` is missing where the page came over plain HTTP from another machine. */
export function newUuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (Number(bytes[6]) & 0x0f) | 0x40;
  bytes[8] = (Number(bytes[8]) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function wait(ms, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
