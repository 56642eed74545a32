import { flushCompileCache } from 'node:module';
import { openEventStore } from '#lib/event-store/open-event-store.ts';
import { openLog } from '#lib/log/open-log.ts';
import { startConsumers } from './consumers.ts';
import type { ThreadData } from './thread-messages.ts';

/** A program for the suite of kills: consumes, until it is killed. */
async function main({ log: logOptions, store: storeOptions }: ThreadData): Promise<void> {
  const store = await openEventStore(storeOptions);
  const log = await openLog(logOptions);
  // What Node has compiled: killed, it would keep none of it.
  flushCompileCache();
  const live = { publish: () => undefined, close: async () => undefined };
  startConsumers({ log, store, live, reports: ({ message }) => console.log(message), now: Date.now });
  console.log('consuming');
}

await main(JSON.parse(process.argv[2] ?? '{}') as ThreadData);
