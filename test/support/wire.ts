import { connect, createServer, type Socket } from 'node:net';

/** A TCP connection's middle, which a test can cut: what a train does to a phone. */
export interface Wire {
  readonly url: string;
  /** The request heads that went through, oldest first. HTTP/1.1 only. */
  requests(): string[];
  /** Ends every connection there is, without a word. New ones pass. */
  cut(): void;
  stop(): Promise<void>;
}

export async function startWire(toPort: number): Promise<Wire> {
  const sockets = new Set<Socket>();
  let sent = '';
  const server = createServer((near) => {
    const far = connect(toPort, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
    near.on('data', (chunk: Buffer) => {
      sent += chunk.toString('latin1');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    url: `http://127.0.0.1:${port}`,
    requests: () => sent.match(/(?:GET|POST|OPTIONS) \S+ HTTP\/1\.1\r\n(?:[^\r\n]+\r\n)*/g) ?? [],
    cut,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      cut();
      await closed;
    },
  };
}
