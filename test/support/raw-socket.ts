import { connect } from 'node:net';

/** A TCP connection on which a test writes what it likes. */
export interface RawSocket {
  write(data: string | Uint8Array): void;
  /** Ends this half; the other stays open. */
  halfClose(): void;
  text(): string;
  isClosed(): boolean;
  /** Resolves with all that came, once the other side closed the connection, in whatever manner. */
  readonly closed: Promise<string>;
  destroy(): void;
}

export async function openSocket(port: number): Promise<RawSocket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  let text = '';
  let isClosed = false;
  const closed = new Promise<string>((resolve) => {
    const over = () => {
      isClosed = true;
      resolve(text);
      socket.destroy();
    };
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', over);
    socket.on('end', over);
    socket.on('close', over);
  });
  return {
    write: (data) => void socket.write(data),
    halfClose: () => void socket.end(),
    text: () => text,
    isClosed: () => isClosed,
    closed,
    destroy: () => void socket.destroy(),
  };
}

/** Writes, and resolves with what came until the other side closed. */
export async function exchange(port: number, data: string | Uint8Array): Promise<string> {
  const socket = await openSocket(port);
  socket.write(data);
  return socket.closed;
}
