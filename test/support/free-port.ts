import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// Below those that Linux and macOS give to outgoing connections: one of a test that opens thousands would take the port
// between its choice and its use, or while its server is restarted.
const FIRST = 12_000;
const LAST = 32_000;
/** Who has which: test files run beside each other in processes of their own, and servers take seconds to listen. */
export const PORT_CLAIMS = join(tmpdir(), 'tideway-test-ports');
const given = new Set<number>();

process.on('exit', () => {
  for (const port of given) rmSync(claimOf(port), { force: true });
});

/** A port of the loopback interface that is nobody's: this process keeps it, whether or not a server listens there. */
export async function freePort(): Promise<number> {
  mkdirSync(PORT_CLAIMS, { recursive: true });
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (!claim(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
}

function claimOf(port: number): string {
  return join(PORT_CLAIMS, String(port));
}

function claim(port: number): boolean {
  try {
    writeFileSync(claimOf(port), String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    // Left by one that was killed: free to be chosen another time, and not by two that find it at once.
    if (!isAlive(ownerOf(port))) rmSync(claimOf(port), { force: true });
    return false;
  }
}

/** Undefined: it is being claimed, or was given back. */
function ownerOf(port: number): number | undefined {
  try {
    return Number(readFileSync(claimOf(port), 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number | undefined): boolean {
  if (pid === undefined) return true;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
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

/** Whether anybody takes connections there. */
export function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
