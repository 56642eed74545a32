import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { freePort } from './free-port.ts';

/** Stands between the services and one Redis, and can make subscriptions die without a word. */
export interface RedisProxy extends AsyncDisposable {
  readonly url: string;
  /** From now on nothing reaches a connection that subscribes; it stays open. Others are left alone. */
  silenceSubscribers(): void;
  /** Cuts what was silenced, and lets everything through again. */
  heal(): void;
  /** Cuts all connections, or those that subscribe. */
  cut(which: 'all' | 'subscribers'): void;
  /** From now on what either side sends arrives so much later, in its order. */
  delayBy(ms: number): void;
  stop(): Promise<void>;
}

const SUBSCRIBES = /ssubscribe/i;

export async function startRedisProxy(redisPort: number): Promise<RedisProxy> {
  const sockets = new Set<Socket>();
  const subscribers = new Set<Socket>();
  let silent = false;
  let delayMs = 0;

  // In order also while the delay changes: what is due goes before what comes.
  function forward(to: Socket): (bytes: Buffer) => void {
    const waiting: { readonly bytes: Buffer; readonly dueMs: number }[] = [];
    const send = () => {
      const nowMs = performance.now();
      for (let next = waiting[0]; next !== undefined && next.dueMs <= nowMs; next = waiting[0]) {
        to.write(next.bytes);
        waiting.shift();
      }
      if (waiting[0] !== undefined) setTimeout(send, waiting[0].dueMs - nowMs + 1);
    };
    return (bytes) => {
      if (delayMs === 0 && waiting.length === 0) {
        to.write(bytes);
        return;
      }
      if (waiting.push({ bytes, dueMs: performance.now() + delayMs }) === 1) setTimeout(send, delayMs + 1);
    };
  }

  const server = createServer((client) => {
    const redis = connect(redisPort, '127.0.0.1');
    for (const socket of [client, redis]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    client.on('close', () => {
      sockets.delete(client);
      subscribers.delete(client);
      redis.destroy();
    });
    redis.on('close', () => {
      sockets.delete(redis);
      client.destroy();
    });
    const [toRedis, toClient] = [forward(redis), forward(client)];
    client.on('data', (bytes) => {
      if (SUBSCRIBES.test(bytes.toString('latin1'))) subscribers.add(client);
      toRedis(bytes);
    });
    redis.on('data', (bytes) => {
      if (!silent || !subscribers.has(client)) toClient(bytes);
    });
  });
  const port = await freePort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');

  async function stop(): Promise<void> {
    server.close();
    for (const socket of sockets) socket.destroy();
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    silenceSubscribers() {
      silent = true;
    },
    heal() {
      silent = false;
      for (const client of subscribers) client.destroy();
    },
    cut(which) {
      for (const socket of which === 'all' ? sockets : subscribers) socket.destroy();
    },
    delayBy(ms) {
      delayMs = ms;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
