import { afterEach, describe, expect, it } from 'vitest';
import { type CliProcess, cliHome, startCli } from '../support/cli.ts';
import { startEdge } from '../support/edge.ts';
import { startRedis } from '../support/redis.ts';
import { startMonolith } from '../support/tideway.ts';
import { until } from '../support/until.ts';

/** A pipe from publish to listen through the edge, whose server can be killed and started again. */
async function startPipe(serverEnv: Readonly<Record<string, string>> = {}) {
  const first = await startMonolith(serverEnv);
  // The same port, and the same keys: what a restart is.
  const again = { ...serverEnv, PORT: String(first.port), TIDEWAY_DATA_DIR: first.dir };
  cleanups.push(() => first.stop());
  const ports = [first.port];
  const edge = await startEdge({ publish: ports, stream: ports, web: ports });
  cleanups.push(() => edge.stop());
  const home = await cliHome(first.development, edge.url);
  cleanups.push(home.remove);

  const env = { TIDEWAY_DATA_DIR: home.dir };
  const channel = crypto.randomUUID();
  const listener = startCli('listen', ['--channel', channel], env);
  const publisher = startCli('publish', ['--channel', channel, '--lines'], env);
  return {
    listener,
    publisher,
    async kill() {
      first.kill('SIGKILL');
      await first.exited;
    },
    async restart() {
      const second = await startMonolith(again);
      cleanups.push(() => second.stop());
    },
  };
}

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const idCount = (publisher: CliProcess) => publisher.out().split('\n').length - 1;

describe('publish and listen while the server is killed and started again', () => {
  it('lose nothing, on Redis', async () => {
    await using redis = await startRedis();
    const { listener, publisher, kill, restart } = await startPipe({ REDIS_URL: redis.url });
    publisher.write('before\n');
    await until('the first line is there', () => listener.out() === 'before\n');
    await kill();
    publisher.write('while it is away\n');
    await until('both notice', () => [listener, publisher].every((cli) => cli.err().includes('Trying again')));
    await restart();
    publisher.write('after\n');
    publisher.endInput();

    expect(await publisher.exited).toBe(0);
    expect(await listener.exited).toBe(0);
    expect(listener.out()).toBe('before\nwhile it is away\nafter\n');
    expect(publisher.err()).toMatch(/^\w+: .* Trying again for up to 60 s\.\nConnected again\.\n$/);
    // START, three lines, END.
    expect(idCount(publisher)).toBe(5);
  });

  it('go on, and say what memory could not keep', async () => {
    const { listener, publisher, kill, restart } = await startPipe();
    publisher.write('before\n');
    await until('the first line is there', () => listener.out() === 'before\n');
    await kill();
    await restart();
    // Nothing is published yet that could hide from the listener that its log is gone.
    await until('the listener says so', () => /no longer|retained|rolled back/.test(listener.err()), 30_000);
    publisher.write('after\n');
    publisher.endInput();

    expect(await publisher.exited).toBe(0);
    expect(await listener.exited).toBe(0);
    expect(listener.out()).toBe('before\nafter\n');
    expect(idCount(publisher)).toBe(4);
  });
});
