import type { Socket } from 'node:net';

/** What an h2 client that has prior knowledge begins with (RFC 9113 section 3.4). */
export const H2_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export type Protocol = 'h1' | 'h2';

/**
 * Waits for the bytes that tell a connection's protocol, at most the length of the h2 preface, and hands it over paused,
 * with those bytes put back. HTTP/1.1 is whatever differs from the preface: its parser answers garbage properly. A
 * connection that does not say what it is in time is destroyed; one that ends before is simply gone.
 */
export function tellProtocol(
  socket: Socket,
  timeoutMs: number,
  handOver: (protocol: Protocol, seen: Buffer) => void,
): void {
  let seen: Buffer = Buffer.alloc(0);
  const deadline = setTimeout(() => socket.destroy(), timeoutMs);

  function onData(chunk: Buffer): void {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    const protocol = protocolOf(seen);
    if (protocol === undefined) return;
    settle();
    socket.pause();
    socket.unshift(seen);
    handOver(protocol, seen);
  }
  function onEnd(): void {
    settle();
    socket.destroy();
  }
  function settle(): void {
    clearTimeout(deadline);
    socket.off('data', onData);
    socket.off('end', onEnd);
    socket.off('close', settle);
  }
  socket.on('data', onData);
  socket.on('end', onEnd);
  socket.on('close', settle);
}

function protocolOf(seen: Buffer): Protocol | undefined {
  const length = Math.min(seen.length, H2_PREFACE.length);
  if (seen.compare(H2_PREFACE, 0, length, 0, length) !== 0) return 'h1';
  return length === H2_PREFACE.length ? 'h2' : undefined;
}
