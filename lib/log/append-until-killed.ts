import { flushCompileCache } from 'node:module';
import { type OpenLogOptions, openLog } from './open-log.ts';

/** A program for the suite: appends numbers to the keys of a topic, many at once, and prints what was acknowledged. */
export interface AppendUntilKilled {
  readonly log: OpenLogOptions;
  readonly topic: string;
  readonly keys: number;
}

async function main({ log: options, topic, keys }: AppendUntilKilled): Promise<void> {
  const log = await openLog(options);
  // What Node has compiled: killed, it would keep none of it.
  flushCompileCache();
  await Promise.all(
    Array.from({ length: keys }, async (_, key) => {
      for (let number = 0; ; number++) {
        await log.append([{ topic, key: Buffer.from(`${key}`), value: Buffer.from(`${number}`) }]);
        process.stdout.write(`${key} ${number}\n`);
      }
    }),
  );
}

await main(JSON.parse(process.argv[2] ?? '{}') as AppendUntilKilled);
