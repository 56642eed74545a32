import { flushCompileCache } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import { type OpenLogOptions, openLog } from './open-log.ts';

/** A program for the suite: handles the records of a topic, and prints the values of those that it handled. */
export interface ConsumeUntilKilled {
  readonly log: OpenLogOptions;
  readonly topic: string;
  readonly group: string;
  readonly batchMs: number;
}

async function main({ log: options, topic, group, batchMs }: ConsumeUntilKilled): Promise<void> {
  const log = await openLog(options);
  // What Node has compiled: killed, it would keep none of it.
  flushCompileCache();
  log.consume({
    group,
    topics: [topic],
    maxBatchRecords: 5,
    maxBatchBytes: 1024 * 1024,
    handle: async ({ records }) => {
      await delay(batchMs);
      process.stdout.write(records.map(({ value }) => `${Buffer.from(value)}\n`).join(''));
    },
    onError: (error) => void process.stderr.write(`${error}\n`),
  });
}

await main(JSON.parse(process.argv[2] ?? '{}') as ConsumeUntilKilled);
