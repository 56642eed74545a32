import type { Transform } from 'node:stream';
import { discardBody } from '#lib/server/discard-body.ts';
import type { NodeServerRequest } from '#lib/server/node-http.ts';
import { Pieces } from './body-pieces.ts';
import {
  decompressSmall,
  decompressStream,
  type Encoding,
  MAX_SYNC_INPUT_BYTES,
  requireAllRead,
} from './decompress.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import type { FairShares } from './fair-shares.ts';

export interface BodyOptions {
  /** Undefined: as it is. */
  readonly encoding: Encoding | undefined;
  /** Of what is sent, and of what it is when it is decompressed. */
  readonly maxBytes: number;
  /** What all bodies that are being received may take of memory, by caller. */
  readonly budget: FairShares<string>;
  readonly caller: string;
}

/** What takes a body, piece by piece. */
export interface BodySink {
  /** @throws EnvelopeRefusal to have no more of it. */
  write(chunk: Buffer): void;
}

/**
 * Reads a body whole. A limit is met when it is crossed and not later, by the declared length, by what arrives, or by what
 * that decompresses to; then what is still being sent is not kept. @throws EnvelopeRefusal
 */
export async function readBody(request: NodeServerRequest, options: BodyOptions): Promise<Buffer> {
  const pieces = new Pieces();
  await readBodyInto(request, options, { write: (chunk) => pieces.push(chunk) });
  return pieces.whole();
}

/** The same, for a sink. */
export function readBodyInto(request: NodeServerRequest, options: BodyOptions, sink: BodySink): Promise<void> {
  const declared = request.headers['content-length'];
  if (declared !== undefined && Number(declared) > options.maxBytes) {
    discardBody(request);
    return Promise.reject(new EnvelopeRefusal('too_large'));
  }
  return new Promise((resolve, reject) => new Reading(request, options, sink, resolve, reject).start());
}

class Reading {
  readonly #request: NodeServerRequest;
  readonly #options: BodyOptions;
  readonly #sink: BodySink;
  readonly #resolve: () => void;
  readonly #reject: (error: unknown) => void;
  /** What was sent and is still compressed, until it is known to be small or not. */
  readonly #compressed = new Pieces();
  #decompressing: Transform | undefined;
  #receivedBytes = 0;
  #writtenBytes = 0;
  #heldBytes = 0;
  #isSettled = false;

  constructor(
    request: NodeServerRequest,
    options: BodyOptions,
    sink: BodySink,
    resolve: () => void,
    reject: (error: unknown) => void,
  ) {
    this.#request = request;
    this.#options = options;
    this.#sink = sink;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const { encoding } = this.#options;
    const request = this.#request;
    request.on('close', this.#onCut);
    request.on('error', this.#onCut);
    request.on('data', encoding === undefined ? (chunk: Buffer) => this.#plain(chunk) : this.#onCompressed);
    request.on('end', encoding === undefined ? () => this.#succeed() : this.#onCompressedEnd);
  }

  #plain(chunk: Buffer): void {
    if (this.#receive(chunk)) this.#write(chunk);
  }

  readonly #onCompressed = (chunk: Buffer) => {
    if (!this.#receive(chunk) || !this.#hold(chunk.byteLength)) return;
    this.#compressed.push(chunk);
    if (this.#receivedBytes > MAX_SYNC_INPUT_BYTES) this.#stream(false);
  };

  readonly #onCompressedEnd = () => {
    if (this.#isSettled) return;
    // To be told that there is nothing is more use than that nothing can't be decompressed.
    if (this.#receivedBytes === 0) return this.#succeed();
    const { encoding } = this.#options;
    if (encoding === undefined) return;
    try {
      const whole = decompressSmall(encoding, this.#compressed.whole());
      if (whole === undefined) this.#stream(true);
      else if (this.#write(whole)) this.#succeed();
    } catch (error) {
      this.#fail(error);
    }
  };

  /** Goes on in a stream: with what is there, and with what comes unless it has ended. */
  #stream(hasEnded: boolean): void {
    const { encoding } = this.#options;
    if (encoding === undefined) return;
    const request = this.#request;
    const stream = decompressStream(encoding);
    this.#decompressing = stream;
    request.off('data', this.#onCompressed);
    request.off('end', this.#onCompressedEnd);
    stream.on('data', (chunk: Buffer) => void this.#write(chunk));
    stream.on('end', () => {
      try {
        requireAllRead(stream.bytesWritten, this.#receivedBytes);
        this.#succeed();
      } catch (error) {
        this.#fail(error);
      }
    });
    stream.on('error', (cause) => this.#fail(new EnvelopeRefusal('invalid_compression', { cause })));
    stream.write(this.#compressed.whole());
    this.#compressed.clear();
    if (hasEnded) {
      stream.end();
      return;
    }
    request.on('data', (chunk: Buffer) => {
      if (this.#receive(chunk) && !stream.destroyed && !stream.write(chunk)) request.pause();
    });
    stream.on('drain', () => request.resume());
    request.on('end', () => stream.end());
  }

  /** Counts what was sent. False: it is not wanted any more. */
  #receive(chunk: Buffer): boolean {
    if (this.#isSettled) return false;
    this.#receivedBytes += chunk.byteLength;
    if (this.#receivedBytes <= this.#options.maxBytes) return true;
    this.#fail(new EnvelopeRefusal('too_large'));
    return false;
  }

  #hold(bytes: number): boolean {
    const { budget, caller } = this.#options;
    if (!budget.take(caller, bytes)) {
      this.#fail(new EnvelopeRefusal('busy'));
      return false;
    }
    this.#heldBytes += bytes;
    return true;
  }

  /** Hands on a piece of the body. False: no more of it is wanted. */
  #write(chunk: Buffer): boolean {
    if (this.#isSettled) return false;
    this.#writtenBytes += chunk.byteLength;
    if (this.#writtenBytes > this.#options.maxBytes) {
      this.#fail(new EnvelopeRefusal('too_large'));
      return false;
    }
    if (!this.#hold(chunk.byteLength)) return false;
    try {
      this.#sink.write(chunk);
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  readonly #onCut = () => {
    if (!this.#request.readableEnded) this.#fail(new EnvelopeRefusal('cut'));
  };

  #succeed(): void {
    if (this.#settle()) this.#resolve();
  }

  #fail(error: unknown): void {
    if (!this.#settle()) return;
    if (!this.#request.readableEnded) discardBody(this.#request);
    this.#compressed.clear();
    this.#decompressing?.destroy();
    this.#reject(error);
  }

  #settle(): boolean {
    if (this.#isSettled) return false;
    this.#isSettled = true;
    this.#options.budget.give(this.#options.caller, this.#heldBytes);
    // Every request closes; an error made for nothing costs more than all the rest of this.
    this.#request.off('close', this.#onCut);
    return true;
  }
}
