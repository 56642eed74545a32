import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { Receipts } from './checker.ts';

/** Where an EventSource stands: `stopped` by a 204 or by the test, `failed` for good by any other answer. */
export type SseState = 'connecting' | 'open' | 'waiting' | 'stopped' | 'failed';

export interface SseListenerOptions {
  /** With the token and the channel in it. */
  readonly url: string;
  readonly receipts: Receipts;
  /** Goes on from there, as a page does that comes back. */
  readonly lastEventId?: string;
}

export interface Connection {
  readonly askedMs: number;
  /** What its request said as Last-Event-ID. */
  readonly lastEventId: string;
  openedMs?: number;
  endedMs?: number;
  /** True if the response was cut rather than ended. */
  wasCut?: boolean;
  /** What it was told to wait, when it ended. */
  retryMs?: number;
}

/** The wait before a reconnect, until the server says otherwise: Chromium's. */
const DEFAULT_RETRY_MS = 3_000;

/**
 * What an EventSource does and no more (HTML standard, "Server-sent events"), small enough that a test has a thousand:
 * it reconnects whenever a response ends, after what `retry:` said last, by the last id; it stops at a 204, and any other
 * answer than an event stream ends it for good. Each connection is a socket of its own.
 */
export class SseListener {
  readonly connections: Connection[] = [];
  /** The control types received, in order. */
  readonly controls: string[] = [];
  /** The data of `error` events. */
  readonly errors: string[] = [];
  readonly receipts: Receipts;
  /** The status that made it give up. */
  failedWith: number | undefined;
  state: SseState = 'connecting';
  retryMs = DEFAULT_RETRY_MS;
  hasEnded = false;
  readonly #url: URL;
  #lastEventId = '';
  #request: ClientRequest | undefined;
  #response: IncomingMessage | undefined;
  #timer: NodeJS.Timeout | undefined;
  #rest = '';
  #event = { type: '', id: undefined as string | undefined, data: '' };

  constructor({ url, receipts, lastEventId = '' }: SseListenerOptions) {
    this.#url = new URL(url);
    this.receipts = receipts;
    this.#lastEventId = lastEventId;
    this.#connect();
  }

  get lastEventId(): string {
    return this.#lastEventId;
  }

  close(): void {
    this.state = 'stopped';
    clearTimeout(this.#timer);
    this.#request?.destroy();
  }

  /** Reads nothing more of this response, with the connection open. */
  stall(): void {
    this.#response?.pause();
  }

  readOn(): void {
    this.#response?.resume();
  }

  #connect(): void {
    this.state = 'connecting';
    this.#rest = '';
    this.#event = { type: '', id: undefined, data: '' };
    const connection: Connection = { askedMs: performance.now(), lastEventId: this.#lastEventId };
    this.connections.push(connection);
    const asking = request(this.#url, {
      agent: false,
      headers: {
        accept: 'text/event-stream',
        ...(this.#lastEventId === '' ? {} : { 'last-event-id': this.#lastEventId }),
      },
    });
    this.#request = asking;
    this.#response = undefined;
    asking.on('response', (answer) => {
      this.#response = answer;
      this.#onResponse(answer, connection);
    });
    asking.on('error', () => undefined);
    asking.on('close', () => {
      connection.endedMs = performance.now();
      connection.wasCut = this.#response?.complete !== true;
      connection.retryMs = this.retryMs;
      if (this.state === 'stopped' || this.state === 'failed') return;
      this.state = 'waiting';
      this.#timer = setTimeout(() => this.#connect(), this.retryMs);
    });
    asking.end();
  }

  #onResponse(response: IncomingMessage, connection: Connection): void {
    response.on('error', () => undefined);
    const type = response.headers['content-type'] ?? '';
    if (response.statusCode !== 200 || !type.startsWith('text/event-stream')) {
      this.state = response.statusCode === 204 ? 'stopped' : 'failed';
      if (this.state === 'failed') this.failedWith = response.statusCode ?? 0;
      response.resume();
      return;
    }
    this.state = 'open';
    connection.openedMs = performance.now();
    response.setEncoding('utf8');
    response.on('data', (text: string) => this.#onText(text));
  }

  #onText(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#onLine(line);
  }

  #onLine(line: string): void {
    if (line === '') {
      this.#dispatch();
      return;
    }
    const colon = line.indexOf(':');
    const value = line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    switch (line.slice(0, colon)) {
      case 'event':
        this.#event.type = value;
        break;
      case 'id':
        this.#event.id = value;
        break;
      case 'data':
        this.#event.data += value;
        break;
      case 'retry':
        if (/^\d+$/.test(value)) this.retryMs = Number(value);
        break;
    }
  }

  #dispatch(): void {
    const { type, id, data } = this.#event;
    this.#event = { type: '', id: undefined, data: '' };
    if (id !== undefined) this.#lastEventId = id;
    if (data === '') return;
    if (type === 'stream') {
      const { sequence, phase, payload } = JSON.parse(data);
      this.receipts.record(this.#lastEventId, sequence, payload);
      if (phase === 'PHASE_END') this.hasEnded = true;
    } else if (type === 'control') {
      const { control_type: type, first_id: firstId = '' } = JSON.parse(data);
      this.controls.push(type);
      this.receipts.control({ type, cursor: this.#lastEventId, firstId });
    } else if (type === 'error') {
      this.errors.push(data);
    }
  }
}
