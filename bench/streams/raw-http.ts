import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Place } from './jobs.ts';

const HEAD_END = Buffer.from('\r\n\r\n');
const LAST_CHUNK = Buffer.from('0\r\n\r\n');

/** One keep-alive connection of HTTP/1.1, which knows of an answer its status and where it ends. */
export class RawHttp {
  readonly #socket: Socket;
  #answer: Buffer = Buffer.alloc(0);
  #onAnswer: (status: number) => void = () => {};

  private constructor(place: Place) {
    this.#socket = connect({ ...place, noDelay: true });
    this.#socket.on('data', (chunk) => this.#read(chunk));
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => this.#onAnswer(0));
  }

  static async connect(place: Place): Promise<RawHttp> {
    const connection = new RawHttp(place);
    await once(connection.#socket, 'connect');
    return connection;
  }

  /** One request at a time. Status 0: the connection has ended. */
  send(request: Buffer, onAnswer: (status: number) => void): void {
    this.#onAnswer = onAnswer;
    this.#socket.write(request);
  }

  #read(chunk: Buffer): void {
    this.#answer = this.#answer.length === 0 ? chunk : Buffer.concat([this.#answer, chunk]);
    const headEnd = this.#answer.indexOf(HEAD_END);
    if (headEnd < 0) return;
    const head = this.#answer.toString('latin1', 0, headEnd);
    const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
    const whole =
      length === undefined
        ? this.#answer.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK)
        : this.#answer.length >= headEnd + HEAD_END.length + Number(length);
    if (!whole) return;
    this.#answer = Buffer.alloc(0);
    this.#onAnswer(Number(head.slice(9, 12)));
  }
}

/** The head of a POST. */
export function postHead(place: Place, path: string, headers: Readonly<Record<string, string | number>>): Buffer {
  const lines = Object.entries({ host: place.host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1');
}
