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
  stop(): Promise<void>;
}

const SUBSCRIBES = /ssubscribe/i;

export async function startRedisProxy(redisPort: number): Promise<RedisProxy> {
  const sockets = new Set<Socket>();
  const subscribers = new Set<Socket>();
  let silent = false;

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
    client.on('data', (bytes) => {
      if (SUBSCRIBES.test(bytes.toString('latin1'))) subscribers.add(client);
      redis.write(bytes);
    });
    redis.on('data', (bytes) => {
      if (!silent || !subscribers.has(client)) client.write(bytes);
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
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
