import type { Writable } from 'node:stream';

/**
 * Standard output as a command needs it: a write resolves when the reader has taken it, which is the backpressure, and
 * a reader that went away (`| head`) is an answer and no crash.
 */
export class Output {
  readonly #stream: Writable;
  #closed = false;

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on('error', () => {
      this.#closed = true;
    });
  }

  /** True once the reader is known to have gone. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Resolves to false if nobody reads any more. */
  write(text: string): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#stream.write(text, (error) => {
        if (error) this.#closed = true;
        resolve(!error);
      });
    });
  }
}

/**
 * Text of others, fit for a terminal: without the control characters by which it could move the cursor, change the
 * title or hide what came before. Tabs and line ends stay.
 */
export function printable(text: string): string {
  return text.replace(CONTROL, '\ufffd');
}

// C0 without tab, LF and the CR of a CRLF; DEL; C1.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]|\r(?!\n)/g;
