import { expect, test } from 'vitest';
import { openSmallDisk } from '../../test/support/chaos-disk.ts';
import { startRedis } from '../../test/support/redis.ts';
import { until } from '../../test/support/until.ts';
import { BrokerUnavailableError, type PublishRate } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { BEFORE_ALL } from './entry-id.ts';
import { createRedisBroker } from './redis-broker.ts';

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };
const DISK_BYTES = 16 * 1024 * 1024;

// Where mounting is not permitted there is no small disk.
const canMount = await openSmallDisk(DISK_BYTES);

test.runIf(canMount !== undefined)(
  'the disk of its append-only file is full: publishes are refused, and heal; what was answered is there after a kill',
  async () => {
    const disk = canMount as NonNullable<typeof canMount>;
    await using redis = await startRedis({ args: ['--appendonly', 'yes'], dir: disk.dir });
    const broker = createRedisBroker({ url: redis.url, commandTimeoutMs: 500 });
    const channel = newChannel();
    const answered: string[] = [];
    const data = new Uint8Array(64 * 1024);
    /** False: refused, as something that passes. */
    const publish = async () => {
      try {
        const result = await broker.publish(channel, newMessage({ data }), UNLIMITED);
        if (result.kind === 'stored') answered.push(result.id);
        return result.kind === 'stored';
      } catch (error) {
        expect(error).toBeInstanceOf(BrokerUnavailableError);
        return false;
      }
    };
    try {
      expect(await publish()).toBe(true);
      disk.fill();
      await until('publishes are refused', async () => !(await publish()));
      // Readers are served meanwhile.
      expect((await broker.read(channel, BEFORE_ALL, 1)).entries).toHaveLength(1);
      disk.free();
      await until('publishes heal', publish);
      await redis.kill();
      await redis.restart();
      await until('publishes heal', publish);
      const { entries } = await broker.read(channel, BEFORE_ALL, 1_000);
      expect(entries.map(({ id }) => id)).toEqual(expect.arrayContaining(answered));
    } finally {
      await broker.close();
      disk.stop();
    }
  },
);
