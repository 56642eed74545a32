import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EventStore } from '#lib/event-store/event-store.ts';
import { openEventStore } from '#lib/event-store/open-event-store.ts';
import { type EventMessage, encodeIngestMessage, type IngestMessage, ingestKey } from '#lib/ingest/ingest-message.ts';
import { encodeOutcome, type Outcome } from '#lib/ingest/outcome.ts';
import { TOPICS, type Topic } from '#lib/ingest/topics.ts';
import type { Log, NewRecord } from '#lib/log/log.ts';
import { openSqliteLog, type SqliteLogOptions } from '#lib/log/sqlite-log.ts';
import type { LivePublisher } from './live-publisher.ts';
import type { LiveSummary } from './live-summary.ts';
import type { Report } from './reports.ts';

export const ORGANIZATION = 11n;
export const PROJECT = 22n;
export const KEY = 33n;

export function newEventId(): string {
  return randomBytes(16).toString('hex');
}

export function eventMessage(fields: Partial<EventMessage> = {}): EventMessage {
  return {
    type: 'event',
    eventId: newEventId(),
    organizationId: ORGANIZATION,
    projectId: PROJECT,
    keyId: KEY,
    retentionDays: 90,
    payload: Buffer.from(JSON.stringify({ message: 'Hello', platform: 'python' })),
    startTimeMs: Date.now(),
    remoteAddr: undefined,
    category: 'error',
    attachments: [],
    ...fields,
  };
}

export function ingestRecord(message: IngestMessage, topic: Topic = TOPICS.events): NewRecord {
  const { eventId, organizationId } = message;
  return { topic, key: ingestKey(eventId, organizationId), value: encodeIngestMessage(message) };
}

export function outcomeRecord(fields: Partial<Outcome> = {}, topic: Topic = TOPICS.outcomes): NewRecord {
  const outcome: Outcome = {
    timestampMs: Date.now(),
    outcome: 'filtered',
    organizationId: ORGANIZATION,
    projectId: PROJECT,
    keyId: KEY,
    reason: 'localhost',
    eventId: undefined,
    remoteAddr: undefined,
    category: 'error',
    quantity: 1,
    ...fields,
  };
  return { topic, key: Buffer.from('outcome'), value: encodeOutcome(outcome) };
}

/** A real log and a real store in a folder of their own. */
export interface Place extends AsyncDisposable {
  readonly dataDir: string;
  readonly log: Log;
  readonly store: EventStore;
}

export async function newPlace(options: Omit<SqliteLogOptions, 'dataDir'> = {}): Promise<Place> {
  const dataDir = await mkdtemp(join(tmpdir(), 'tideway-consumers-'));
  const log = openSqliteLog({ ...options, dataDir });
  const store = await openEventStore({ dataDir });
  return {
    dataDir,
    log,
    store,
    [Symbol.asyncDispose]: async () => {
      await log.close();
      await store.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Keeps what it is given. */
export class KeptSummaries implements LivePublisher {
  readonly summaries: LiveSummary[] = [];
  publish(summaries: readonly LiveSummary[]): void {
    this.summaries.push(...summaries);
  }
  async close(): Promise<void> {}
}

export class KeptReports {
  readonly all: Report[] = [];
  readonly add = (report: Report): void => {
    this.all.push(report);
  };
  get messages(): string[] {
    return this.all.map(({ message }) => message);
  }
}
