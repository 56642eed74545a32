/** Of numbers that are read, and of any that protobuf has. */
const MAX_READ_BYTES = 7;
const MAX_VARINT_BYTES = 10;
const TIMESTAMP_SECONDS = 0x08;
const TIMESTAMP_NANOS = 0x10;

/**
 * Where the reading of protobuf in place stands. Each `end` is that of what is read in, exclusive, and within the bytes:
 * nothing behind it is looked at. What is not there, or not of the usual form, is answered by -1 or false, after which
 * there is nothing more to be read.
 *
 * The protobuf library has a reader, too, which takes a third longer for the scan of a message: it is made anew for each,
 * knows no end but that of all bytes, has numbers above 2^32 as bigint only, and throws.
 */
export class WireReader {
  at = 0;

  /** A number below 2^49, or -1. */
  varint(data: Uint8Array, end: number): number {
    const last = Math.min(end, this.at + MAX_READ_BYTES);
    let value = 0;
    let factor = 1;
    for (let at = this.at; at < last; factor *= 128) {
      const byte = data[at++] as number;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        this.at = at;
        return value;
      }
    }
    return -1;
  }

  /** Passes a number of any size. */
  skipVarint(data: Uint8Array, end: number): boolean {
    for (const last = Math.min(end, this.at + MAX_VARINT_BYTES); this.at < last; ) {
      if ((data[this.at++] as number) < 0x80) return true;
    }
    return false;
  }

  /** Reads a length, and answers where what has it ends, or -1. */
  delimitedEnd(data: Uint8Array, end: number): number {
    const length = this.varint(data, end);
    return length < 0 || length > end - this.at ? -1 : this.at + length;
  }

  /**
   * Passes a google.protobuf.Timestamp of the usual form, with its length. Of any other the generated code may read on behind
   * its end, and find something else there.
   */
  skipTimestamp(data: Uint8Array, outerEnd: number): boolean {
    const end = this.delimitedEnd(data, outerEnd);
    if (end < 0) return false;
    while (this.at < end) {
      const tag = data[this.at++];
      if (tag !== TIMESTAMP_SECONDS && tag !== TIMESTAMP_NANOS) return false;
      if (this.varint(data, end) < 0) return false;
    }
    return true;
  }
}
