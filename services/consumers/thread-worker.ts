import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { openEventStore } from '#lib/event-store/open-event-store.ts';
import { openLog } from '#lib/log/open-log.ts';
import { startConsumers } from './consumers.ts';
import { PortLivePublisher } from './port-live-publisher.ts';
import type { FromThread, ThreadData, ToThread } from './thread-messages.ts';

// The thread that thread.ts starts. What it can't mend ends it, and it is started again.
const port = parentPort;
if (port === null) throw new Error('this is a thread of the consumers, started by thread.ts');
await run(port, workerData as ThreadData);

async function run(port: MessagePort, data: ThreadData): Promise<void> {
  const send = (message: FromThread) => port.postMessage(message);
  const reports = (report: Extract<FromThread, { kind: 'report' }>['report']) => send({ kind: 'report', report });
  const live = new PortLivePublisher({ send: (summaries) => send({ kind: 'live', summaries }), reports });
  const store = await openEventStore(data.store);
  const log = await openLog(data.log);
  const consumers = startConsumers({ log, store, live, reports, now: Date.now });

  async function stop(): Promise<void> {
    await consumers.stop();
    await log.close();
    await store.close();
    // Nothing else keeps the thread alive.
    port.close();
  }

  port.on('message', (message: ToThread) => {
    if (message.kind === 'taken') live.taken(message.summaries);
    else void stop();
  });
}
