import { createHash } from 'node:crypto';
import { expiresDayOf } from '#lib/event-store/days.ts';
import { decodeDeadLetter, MalformedDeadLetterError } from '#lib/ingest/dead-letter.ts';
import { type AttachmentMeta, decodeIngestMessage, MalformedMessageError } from '#lib/ingest/ingest-message.ts';
import { decodeOutcome, isFirstOf, MalformedOutcomeError } from '#lib/ingest/outcome.ts';
import { outcomesOfPutAside } from '#lib/ingest/put-aside.ts';
import { deadLetterTopic, GROUPS, INGEST_TOPICS, OUTCOME_TOPICS } from '#lib/ingest/topics.ts';
import type { Log, LogBatch, LogRecord } from '#lib/log/log.ts';
import { type Counted, Counts, HOUR_MS } from './counts.ts';
import { addReceipt, type LoggedEvent } from './logged-events.ts';

/** How much of a partition the log still has. */
export interface PartitionSpan {
  readonly group: string;
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** Of the first record there is, and when it was appended. */
  readonly firstOffset: bigint;
  readonly firstMs: number;
  /** After the last. */
  endOffset: bigint;
}

/** What the log says that there was: read from its beginning to its end, as it is at that moment. */
export class LogTally {
  readonly partitions = new Map<string, PartitionSpan>();
  /** Of all but events, which {@link countEvents} counts. */
  readonly counts = new Counts();
  /** Each once, by project and id. */
  readonly events = new Map<string, LoggedEvent>();
  /** Those of which some record was put aside, and none was not. */
  readonly putAsideEvents = new Map<string, LoggedEvent>();
  /** User reports: each text once. */
  readonly reports = new Map<bigint, Set<string>>();
  /** What others than the consumers say that was accepted, events and the like: of each project. */
  readonly acceptedElsewhere = new Map<bigint, bigint>();
  /** What can't be read, and is no dead letter. */
  readonly unreadable: string[] = [];
  deadLetters = 0;
  readonly #putAside = new Set<string>();
  /** Of each partition. */
  readonly #lastOfWriters = new Map<string, number>();

  /** @throws LogUnavailableError */
  static async read(log: Log): Promise<LogTally> {
    const tally = new LogTally();
    for (const topic of [...INGEST_TOPICS, ...OUTCOME_TOPICS]) {
      for await (const batch of log.readAll(deadLetterTopic(topic))) tally.#addDeadLetters(batch);
    }
    for (const topic of INGEST_TOPICS) {
      for await (const batch of log.readAll(topic)) tally.#add(batch, GROUPS.events, (record) => tally.#ingest(record));
    }
    for (const topic of OUTCOME_TOPICS) {
      for await (const batch of log.readAll(topic)) {
        const { topicId, partition } = batch;
        tally.#add(batch, GROUPS.outcomes, (record) => tally.#outcome(record, `${topicId}/${partition}`));
      }
    }
    return tally;
  }

  #addDeadLetters({ records }: LogBatch): void {
    for (const { value } of records) {
      try {
        const { topicId, partition, offset } = decodeDeadLetter(value);
        this.#putAside.add(`${topicId}/${partition}/${offset}`);
      } catch (error) {
        if (!(error instanceof MalformedDeadLetterError)) throw error;
      }
    }
    this.deadLetters = this.#putAside.size;
  }

  #add(batch: LogBatch, group: string, add: (record: LogRecord) => void): void {
    const { topic, topicId, partition, records } = batch;
    this.#span(batch, group);
    for (const record of records) {
      if (this.#putAside.has(`${topicId}/${partition}/${record.offset}`)) {
        if (group === GROUPS.events) this.#addPutAside(record);
        continue;
      }
      try {
        add(record);
      } catch (error) {
        if (!(error instanceof MalformedMessageError || error instanceof MalformedOutcomeError)) throw error;
        this.unreadable.push(`${topic}, partition ${partition}, offset ${record.offset}: ${error.message}`);
      }
    }
  }

  #span({ topic, topicId, partition, records }: LogBatch, group: string): void {
    const [first] = records;
    const last = records.at(-1);
    if (first === undefined || last === undefined) return;
    const key = `${topicId}/${partition}`;
    const known = this.partitions.get(key);
    const endOffset = last.offset + 1n;
    if (known !== undefined) known.endOffset = endOffset;
    else {
      const { offset: firstOffset, timestampMs: firstMs } = first;
      this.partitions.set(key, { group, topic, topicId, partition, firstOffset, firstMs, endOffset });
    }
  }

  #ingest({ value }: LogRecord): void {
    const message = decodeIngestMessage(value);
    if (message.type === 'attachment_chunk') return;
    const { organizationId, projectId, eventId, startTimeMs: timestampMs, retentionDays } = message;
    const taken = { organizationId, projectId, timestampMs, outcome: 'accepted', reason: undefined } as const;
    switch (message.type) {
      case 'event': {
        const key = `${projectId}/${eventId}`;
        const expiresDay = expiresDayOf({ receivedMs: timestampMs, retentionDays });
        const event = this.events.get(key) ?? { projectId, eventId, expiresDay, receipts: [] };
        this.events.set(key, event);
        addReceipt(event.receipts, message);
        this.putAsideEvents.delete(key);
        break;
      }
      case 'attachment':
        this.#attachments(taken, [message.attachment]);
        break;
      case 'user_report': {
        const reports = this.reports.get(projectId) ?? new Set();
        this.reports.set(projectId, reports);
        reports.add(`${eventId}/${createHash('sha256').update(message.payload).digest('base64')}`);
        this.counts.add({ ...taken, category: 'feedback', quantity: 1 });
        break;
      }
    }
  }

  #outcome({ value }: LogRecord, where: string): void {
    const outcome = decodeOutcome(value);
    const { stamp } = outcome;
    // One that was appended again counts once.
    if (stamp !== undefined && !isFirstOf(this.#lastOfWriters, `${where}/${stamp.writer}`, stamp.sequence)) return;
    this.counts.add(outcome);
    const { projectId = 0n, category, quantity } = outcome;
    if (outcome.outcome !== 'accepted' || category === 'attachment' || category === 'attachment_item') return;
    this.acceptedElsewhere.set(projectId, (this.acceptedElsewhere.get(projectId) ?? 0n) + BigInt(quantity));
  }

  #attachments(taken: Omit<Counted, 'category' | 'quantity'>, attachments: readonly AttachmentMeta[]): void {
    for (const { sizeBytes } of attachments) {
      this.counts.add({ ...taken, category: 'attachment', quantity: sizeBytes });
      this.counts.add({ ...taken, category: 'attachment_item', quantity: 1 });
    }
  }

  #addPutAside({ value, timestampMs }: LogRecord): void {
    for (const outcome of outcomesOfPutAside(value, timestampMs)) {
      this.counts.add(outcome);
      const { projectId, eventId } = outcome;
      if (projectId === undefined || eventId === undefined) continue;
      const key = `${projectId}/${eventId}`;
      if (!this.events.has(key)) this.putAsideEvents.set(key, { projectId, eventId, expiresDay: 0, receipts: [] });
    }
  }

  /**
   * From when on the log has everything: 0 if it was never cut. Older records of a partition are older than its first one;
   * hours count whole.
   */
  get wholeFromMs(): number {
    const cut = [...this.partitions.values()].filter(({ firstOffset }) => firstOffset > 0n);
    const lastMs = Math.max(0, ...cut.map(({ firstMs }) => firstMs));
    return Math.ceil(lastMs / HOUR_MS) * HOUR_MS;
  }
}
