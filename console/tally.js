/**
 * Compares what a page has published with what a listener received. A message belongs to the comparison from the moment
 * it is sent: its event may arrive before the answer to the publish does.
 */
export class Tally {
  /** @type {ReadonlyMap<string, import('./publisher.js').Sent>} */
  #sent;
  /** @type {Set<string>} */
  #received = new Set();
  /** @type {number[]} */
  #latenciesMs = [];
  #lastSequence = -1;

  outOfOrder = 0;
  twice = 0;
  /** Published to the channel by somebody else. */
  foreign = 0;

  /** @param {ReadonlyMap<string, import('./publisher.js').Sent>} sent */
  constructor(sent) {
    this.#sent = sent;
  }

  get received() {
    return this.#received.size;
  }

  /** Acknowledged and not here (yet). */
  get missing() {
    let missing = 0;
    for (const { id, messageId } of this.#sent.values())
      if (id !== undefined && !this.#received.has(messageId)) missing++;
    return missing;
  }

  get medianLatencyMs() {
    return this.#latenciesMs.toSorted((a, b) => a - b)[Math.floor(this.#latenciesMs.length / 2)];
  }

  /**
   * @param {string} messageId
   * @param {boolean} live False while a listener catches up: what it missed does not tell how fast the path is.
   * @returns {number | undefined} The latency, for a message of this page.
   */
  receive(messageId, live) {
    const sent = this.#sent.get(messageId);
    if (sent === undefined) {
      this.foreign++;
      return undefined;
    }
    if (this.#received.has(messageId)) this.twice++;
    this.#received.add(messageId);
    if (sent.sequence <= this.#lastSequence) this.outOfOrder++;
    this.#lastSequence = sent.sequence;
    const latencyMs = performance.now() - sent.sentAtMs;
    if (live) this.#latenciesMs.push(latencyMs);
    return latencyMs;
  }
}
