import { concatBytes, type Wire } from './delivery.ts';

const CRLF = Buffer.from('\r\n');

/**
 * The same events as chunks of HTTP/1.1's transfer coding, for sinks that write to the socket. Chunks can be joined as
 * they are.
 */
export function chunkWire(slot: number, wire: Wire<Uint8Array>): Wire<Uint8Array> {
  return {
    slot,
    opening: wire.opening === undefined ? undefined : chunkOf(wire.opening),
    heartbeat: chunkOf(wire.heartbeat),
    entry: (delivery) => chunkOf(delivery.encodedFor(wire)),
    control: (notice, cursor) => chunkOf(wire.control(notice, cursor)),
    goodbye(retryMs) {
      const words = wire.goodbye(retryMs);
      return words === undefined ? undefined : chunkOf(words);
    },
    join: concatBytes,
  };
}

/** One chunk of all of them. */
export function chunkOf(...parts: readonly Uint8Array[]): Uint8Array {
  let sizeBytes = 0;
  for (const { byteLength } of parts) sizeBytes += byteLength;
  return Buffer.concat([Buffer.from(`${sizeBytes.toString(16)}\r\n`), ...parts, CRLF]);
}
