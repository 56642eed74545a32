import { once } from 'node:events';
import { createServer } from 'node:net';

// Below those that Linux and macOS give to outgoing connections: one of a test that opens thousands would take the port
// between its choice and its use, or while its server is restarted.
const FIRST = 12_000;
const LAST = 32_000;
const given = new Set<number>();

/** A port of the loopback interface that was free a moment ago. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
