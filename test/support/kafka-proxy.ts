import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from './free-port.ts';

/** Between a client and its Kafka, whose `advertisedPort` is to be this one's. Passes on what is asked, and answers in their order. */
export interface KafkaProxy extends AsyncDisposable {
  readonly port: number;
  /** Where Kafka is. */
  target: number;
  /** Answers are thrown away. */
  loseAnswers: boolean;
  /** Makes answers late; what is late by then goes at once. */
  delayAnswers(ms: number): void;
  /** Ends all connections. */
  cut(): void;
}

export async function startKafkaProxy(): Promise<KafkaProxy> {
  const sockets = new Set<Socket>();
  let delayMs = 0;
  let changed = new AbortController();
  const server = createServer((client) => {
    const kafka = connect(proxy.target, '127.0.0.1');
    for (const [socket, other] of [
      [client, kafka],
      [kafka, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (bytes) => kafka.write(bytes));
    let passedOn = Promise.resolve();
    kafka.on('data', (bytes) => {
      if (proxy.loseAnswers) return;
      const { signal } = changed;
      const late = delayMs > 0 ? delay(delayMs, undefined, { signal }).catch(() => undefined) : undefined;
      passedOn = passedOn.then(async () => {
        await late;
        client.write(bytes);
      });
    });
  });
  const port = await freePort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const proxy: KafkaProxy = {
    port,
    target: 0,
    loseAnswers: false,
    delayAnswers(ms) {
      delayMs = ms;
      changed.abort();
      changed = new AbortController();
    },
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    async [Symbol.asyncDispose]() {
      server.close();
      proxy.cut();
    },
  };
  return proxy;
}
