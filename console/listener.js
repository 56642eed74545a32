/**
 * One listener: an EventSource, and what a page adds to it to be sure. EventSource reconnects by itself when a response
 * ends, with the last id in a header; it gives up for good at any answer but 200. So this class keeps the last id too,
 * and when it has given up, or was cut, opens another with `last_event_id` and a new token.
 *
 * @typedef {'connecting' | 'open' | 'cut' | 'reconnecting' | 'stopping' | 'ended' | 'failed'} State
 * @typedef {{ message_id: string, phase: string, sequence: number, payload: unknown }} StreamMessage
 *
 * @typedef {object} Handlers
 * @property {(state: State, text: string) => void} onState
 * @property {(message: StreamMessage, id: string) => void} onMessage
 * @property {(type: string, text: string, id: string) => void} onControl
 */

/** How long a cut lasts. */
const CUT_MS = 2_000;
/** How long EventSource may take to notice that the stream is over. */
const STOP_WITHIN_MS = 15_000;
const ATTEMPTS = 10;

/** @type {Record<string, string>} */
const CONTROLS = {
  gap: 'Some messages were no longer retained and were missed.',
  expired: 'Nothing of what came after the last id is retained any more.',
  reset: 'The log on the server was rolled back: messages may be missing.',
  producer_lost: 'The producer was lost: the stream is over without an END.',
  server_draining: 'The server is going away: connecting to another.',
};

export class Listener {
  #access;
  #handlers;
  #lastId = '';
  #over = false;
  /** True while nothing has come after `expired`, which ends the response if the stream has ended. */
  #expired = false;
  #closed = false;
  #failures = 0;
  /** @type {EventSource | undefined} */
  #source;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** How often it came back and asked for what it had missed. */
  resumed = 0;

  /**
   * @param {() => Promise<import('./api.js').Access>} access Asked for a new token at each connection.
   * @param {Handlers} handlers
   */
  constructor(access, handlers) {
    this.#access = access;
    this.#handlers = handlers;
  }

  open() {
    return this.#connect('connecting');
  }

  /** Cuts the connection, and resumes after a while. */
  cut() {
    this.#source?.close();
    const from = this.#lastId ? `with last_event_id ${this.#lastId}` : 'from the beginning';
    this.#handlers.onState('cut', `cut: resumes in ${CUT_MS / 1000} s ${from}`);
    this.#later(CUT_MS);
  }

  /** No handler is called after this. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#source?.close();
  }

  /** @param {State} state */
  async #connect(state) {
    this.#handlers.onState(state, state);
    let access;
    try {
      access = await this.#access();
    } catch (error) {
      return this.#retry(error instanceof Error ? error.message : 'No token.');
    }
    if (this.#closed) return;
    const url = new URL(access.url);
    url.searchParams.set('token', access.token);
    url.searchParams.set('channel_id', access.channel_id);
    url.searchParams.set('controls', '1');
    if (this.#lastId) url.searchParams.set('last_event_id', this.#lastId);
    const source = new EventSource(url);
    this.#source = source;
    source.addEventListener('open', () => {
      this.#failures = 0;
      if (this.#lastId) this.resumed++;
      this.#handlers.onState('open', 'connected');
    });
    source.addEventListener('stream', (event) => this.#onStream(event));
    source.addEventListener('control', (event) => this.#onControl(event));
    source.addEventListener('error', (event) => this.#onError(source, event));
  }

  /** @param {MessageEvent<string>} event */
  #onStream(event) {
    this.#lastId = event.lastEventId;
    this.#expired = false;
    const message = JSON.parse(event.data);
    this.#handlers.onMessage(message, event.lastEventId);
    if (message.phase === 'PHASE_END') this.#stop();
  }

  /** @param {MessageEvent<string>} event */
  #onControl(event) {
    if (event.lastEventId) this.#lastId = event.lastEventId;
    const type = String(JSON.parse(event.data).control_type);
    this.#expired = type === 'expired';
    this.#handlers.onControl(type, CONTROLS[type] ?? type, event.lastEventId);
    if (type === 'producer_lost') this.#stop();
    if (type === 'server_draining') {
      this.#source?.close();
      this.#later(Math.random() * 1_000);
    }
  }

  /**
   * @param {EventSource} source
   * @param {Event} event
   */
  #onError(source, event) {
    // The server has words of its own for what passes; the response ends after them, and EventSource comes back.
    if (event instanceof MessageEvent) return this.#handlers.onControl('error', String(event.data), '');
    if (source.readyState === EventSource.CONNECTING) {
      // After the end too: EventSource can't know, until the answer to this reconnect tells it.
      return this.#handlers.onState(this.#over ? 'stopping' : 'reconnecting', 'reconnecting by itself');
    }
    if (this.#over || this.#expired) {
      clearTimeout(this.#timer);
      return this.#handlers.onState('ended', 'ended: EventSource stopped by itself (204)');
    }
    this.#retry('The connection was refused.');
  }

  /** A page would close the EventSource here. This one waits, to show that it stops by itself. */
  #stop() {
    this.#over = true;
    this.#handlers.onState('stopping', 'the stream has ended');
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#source?.close();
      this.#handlers.onState('ended', 'ended: closed by the page');
    }, STOP_WITHIN_MS);
  }

  /** @param {string} why */
  #retry(why) {
    if (this.#closed) return;
    this.#source?.close();
    if (++this.#failures > ATTEMPTS) return this.#handlers.onState('failed', `gave up: ${why}`);
    this.#handlers.onState('reconnecting', `${why} Trying again.`);
    this.#later(Math.min(5_000, 250 * 2 ** this.#failures) * (0.5 + Math.random() / 2));
  }

  /** @param {number} ms */
  #later(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#connect('reconnecting'), ms);
  }
}
