import type { EventStore, NewEvent } from '#lib/event-store/event-store.ts';
import { EndLostError, type Log, type LogConsumer, RecordsLostError } from '#lib/log/log.ts';
import { ApplyBatch } from './apply-batch.ts';
import type { RecordReader } from './effects.ts';
import { errorFields, type Reports } from './reports.ts';

export interface ConsumeOptions {
  readonly log: Pick<Log, 'append' | 'consume'>;
  readonly store: EventStore;
  readonly group: string;
  readonly topics: readonly string[];
  readonly reader: RecordReader;
  /** Hears of events that are stored now. Must not throw. */
  readonly onNew: (events: readonly NewEvent[]) => void;
  readonly reports: Reports;
}

/** Bodies are compressed and written in one transaction, which others wait for: a few ms. */
const MAX_BATCH_RECORDS = 500;
const MAX_BATCH_BYTES = 8 * 1024 * 1024;

/**
 * Consumes topics into the store. Each record has its effect once, whatever is killed when: the store keeps its position in
 * the transaction of its effect. A failure that passes is waited for; it is told when it begins and when it is over.
 */
export function consume({ log, store, group, topics, reader, onNew, reports }: ConsumeOptions): LogConsumer {
  const batches = new ApplyBatch({ log, store, group, reader, onNew, reports });
  let failing = 0;
  return log.consume({
    group,
    topics,
    maxBatchRecords: MAX_BATCH_RECORDS,
    maxBatchBytes: MAX_BATCH_BYTES,
    handle: async (batch) => {
      await batches.apply(batch);
      if (failing > 0) {
        reports({ level: 'info', message: 'consuming goes on', fields: { group, failures: failing } });
        failing = 0;
      }
    },
    keptPosition: ({ topicId, partition }) => store.position(group, topicId, partition),
    onEndLost: ({ topicId, partition, epoch, offset, handledUntil }) =>
      store.takeBack({ group, topicId, partition, epoch, offset, handledUntil }),
    onError: (error) => {
      if (error instanceof EndLostError) {
        const { topic, partition, offset, handledUntil } = error.lost;
        const fields = { group, topic, partition, offset: Number(offset), handledUntil: Number(handledUntil) };
        return reports({ level: 'error', message: 'a partition has lost its end, and records with it', fields });
      }
      if (error instanceof RecordsLostError) {
        const { topic, partition, records } = error;
        const fields = { group, topic, partition, records: Number(records) };
        return reports({ level: 'error', message: 'records were too old before they were handled', fields });
      }
      failing++;
      if (failing > 1) return;
      reports({ level: 'warn', message: 'consuming is held up', fields: { group, ...errorFields(error) } });
    },
  });
}
