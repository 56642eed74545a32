// Each message carries the time at which it was sent, in the same bytes whatever it is encoded in: a mark that is nowhere
// else in it, and digits. Finding the mark counts the message.

export const MARK = '@us=';
export const MARK_DIGITS = 14;
const MARK_BYTES = Buffer.from(MARK);
const [FIRST = 0, SECOND = 0, THIRD = 0] = MARK_BYTES;

/** One message in so many is looked at for its time; with no factor in common with the number of listeners. */
const SAMPLED = 7;
const ZERO = 48;

/** This process may stand still between the two readings, which makes the difference too small; not each time. */
const CLOCK_READINGS = 100;

/** The clock of all processes of this machine: what process.hrtime shows is the same in each of them. */
export function createClock(): () => number {
  let offsetUs = Number.NEGATIVE_INFINITY;
  for (let n = 0; n < CLOCK_READINGS; n++) {
    const [seconds, nanoseconds] = process.hrtime();
    offsetUs = Math.max(offsetUs, seconds * 1e6 + nanoseconds / 1e3 - performance.now() * 1e3);
  }
  return () => performance.now() * 1e3 + offsetUs;
}

export function digitsOf(timeUs: number): string {
  return Math.floor(timeUs).toString().padStart(MARK_DIGITS, '0');
}

/** What is kept for a listener between two chunks. */
export interface Scanned {
  received: number;
  /** How many bytes of a mark the last chunk ended with. */
  pending: number;
}

/** Counts the messages of many listeners in the bytes that they receive, and takes the latency of some. */
export class Scanner {
  readonly #clock = createClock();
  readonly #samplesUs: number[] = [];
  #total = 0;
  #countedFrom = 0;
  #measuring = false;

  scan(listener: Scanned, chunk: Buffer): void {
    const { length } = chunk;
    if (listener.pending > 0) {
      const rest = MARK_BYTES.length - listener.pending;
      if (chunk.compare(MARK_BYTES, listener.pending, MARK_BYTES.length, 0, Math.min(rest, length)) === 0) {
        this.#count(listener, chunk, rest);
      }
      listener.pending = 0;
    }
    for (let at = chunk.indexOf(MARK_BYTES); at >= 0; at = chunk.indexOf(MARK_BYTES, at + MARK_DIGITS)) {
      this.#count(listener, chunk, at + MARK_BYTES.length);
    }
    if (chunk[length - 1] === FIRST) listener.pending = 1;
    else if (chunk[length - 2] === FIRST && chunk[length - 1] === SECOND) listener.pending = 2;
    else if (chunk[length - 3] === FIRST && chunk[length - 2] === SECOND && chunk[length - 1] === THIRD) {
      listener.pending = 3;
    }
  }

  get total(): number {
    return this.#total;
  }

  begin(): void {
    this.#countedFrom = this.#total;
    this.#samplesUs.length = 0;
    this.#measuring = true;
  }

  end(): { count: number; samplesUs: number[] } {
    this.#measuring = false;
    return { count: this.#total - this.#countedFrom, samplesUs: this.#samplesUs };
  }

  #count(listener: Scanned, chunk: Buffer, digitsAt: number): void {
    listener.received++;
    this.#total++;
    if (!this.#measuring || this.#total % SAMPLED !== 0 || digitsAt + MARK_DIGITS > chunk.length) return;
    let timeUs = 0;
    for (let at = digitsAt; at < digitsAt + MARK_DIGITS; at++) timeUs = timeUs * 10 + (chunk[at] ?? 0) - ZERO;
    this.#samplesUs.push(this.#clock() - timeUs);
  }
}
