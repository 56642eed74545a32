import { randomBytes, randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { Migration } from '#lib/sql/migrate.ts';
import { DAY_MS } from './days.ts';
import type {
  Effect,
  EffectBatch,
  EventPage,
  EventPosition,
  EventQuery,
  EventStore,
  NewAttachment,
  NewEvent,
  StoredEvent,
} from './event-store.ts';

/** What the suite needs of an implementation: databases to itself, and a way past the store to what is in them. */
export interface EventStoreSpace extends AsyncDisposable {
  readonly databaseUrl: string | undefined;
  readonly dataDir: string;
  /** As a process would open it; as often as wanted. */
  open(options?: OpenOptions): Promise<EventStore>;
  /** Runs SQL and answers the rows. */
  execute(sql: string): Promise<Record<string, unknown>[]>;
}

export interface OpenOptions {
  readonly readOnly?: boolean;
  readonly migrations?: readonly Migration[];
  readonly searchDeadlineMs?: number;
}

export interface EventStoreContractOptions {
  /** An empty database. */
  readonly newSpace: () => Promise<EventStoreSpace>;
}

export const RETENTION_DAYS = 30;

let lastId = 1_000n;

/** Of an organization or project that no other test has. */
export function uniqueNumber(): bigint {
  return ++lastId;
}

export function newEvent(values: Partial<NewEvent> = {}): NewEvent {
  const receivedMs = values.receivedMs ?? Date.now();
  const eventId = values.eventId ?? randomBytes(16).toString('hex');
  return {
    organizationId: 1n,
    projectId: 1n,
    keyId: 7n,
    eventId,
    receivedMs,
    retentionDays: RETENTION_DAYS,
    category: 'error',
    level: 'error',
    title: 'ValueError: no',
    culprit: 'app.views in index',
    platform: 'python',
    release: 'shop@1.2.3',
    environment: 'production',
    transaction: '/index',
    user: 'ada@example.com',
    sdk: 'sentry.python/2.1.0',
    timeMs: receivedMs - 1_000,
    searchText: 'valueerror: no app.views in index ada@example.com',
    body: Buffer.from(JSON.stringify({ event_id: eventId, message: 'no '.repeat(100) })),
    attachments: [],
    ...values,
  };
}

/** Events of a new project in a new organization. */
export function newProject(): { organizationId: bigint; projectId: bigint } {
  return { organizationId: uniqueNumber(), projectId: uniqueNumber() };
}

export function newAttachment(values: Partial<NewAttachment> = {}): NewAttachment {
  const data = 'data' in values ? values.data : Buffer.from('some data');
  return {
    id: randomUUID(),
    filename: 'log.txt',
    contentType: 'text/plain',
    attachmentType: 'event.attachment',
    sizeBytes: data?.byteLength ?? 0,
    ...values,
    data,
  };
}

/** A partition of a log, whose records are appended and applied. */
export class TestPartition {
  readonly group: string;
  readonly topicId: string;
  readonly partition: number;
  #offset = 0n;

  constructor({ group = 'events', topicId = randomUUID() as string, partition = 0 } = {}) {
    this.group = group;
    this.topicId = topicId;
    this.partition = partition;
  }

  next(
    ...effects: (Effect extends infer Each ? (Each extends Effect ? Omit<Each, 'offset'> : never) : never)[]
  ): EffectBatch {
    const { group, topicId, partition } = this;
    return {
      group,
      topicId,
      partition,
      effects: effects.map((effect) => ({ ...effect, offset: this.#offset++ }) as Effect),
    };
  }

  nextEvents(events: readonly NewEvent[]): EffectBatch {
    return this.next(...events.map((event) => ({ kind: 'event', event }) as const));
  }

  async position(store: EventStore): Promise<bigint | undefined> {
    return (await store.position(this.group, this.topicId, this.partition))?.offset;
  }
}

export async function save(store: EventStore, ...events: NewEvent[]): Promise<readonly NewEvent[]> {
  return store.apply(new TestPartition().nextEvents(events));
}

/** As it is read again. */
export function storedOf(event: NewEvent): StoredEvent {
  const { searchText: _, attachments, body, ...rest } = event;
  return {
    ...rest,
    body,
    expiresMs: (Math.floor(event.receivedMs / DAY_MS) + event.retentionDays + 1) * DAY_MS,
    attachments: attachments.map(({ data: _, ...meta }) => meta).sort((a, b) => (a.id < b.id ? -1 : 1)),
  };
}

export async function expectStored(store: EventStore, event: NewEvent): Promise<void> {
  const found = await store.get(event.projectId, event.eventId);
  const body = found && Buffer.compare(found.body, event.body) === 0 ? event.body : found?.body;
  expect(found && { ...found, body }).toEqual(storedOf(event));
}

export function queryOf(query: Partial<EventQuery> & Pick<EventQuery, 'organizationId'>): EventQuery {
  return {
    projectId: undefined,
    fromMs: undefined,
    toMs: undefined,
    level: undefined,
    release: undefined,
    environment: undefined,
    category: undefined,
    words: [],
    after: undefined,
    limit: 100,
    ...query,
  };
}

/** All pages of a list. `between` is called after each. */
export async function everyPage(
  store: EventStore,
  query: EventQuery,
  between: () => Promise<unknown> = async () => undefined,
): Promise<EventPage['events'][]> {
  const pages: EventPage['events'][] = [];
  let after: EventPosition | undefined;
  do {
    const page = await store.list({ ...query, after });
    pages.push(page.events);
    after = page.next;
    await between();
  } while (after !== undefined);
  return pages;
}

/** `accepted error` → how much, and how often where that is another number. */
export async function totalsOf(store: EventStore, organizationId: bigint): Promise<Record<string, bigint>> {
  const totals = await store.totals(organizationId);
  const sums: Record<string, bigint> = {};
  for (const { outcome, reason, category, quantity } of totals) {
    const name = [outcome, reason, category].filter((word) => word !== '').join(' ');
    sums[name] = (sums[name] ?? 0n) + quantity;
  }
  return sums;
}

export async function readAll(
  store: EventStore,
  projectId: bigint,
  eventId: string,
  attachmentId: string,
): Promise<Buffer | undefined> {
  const chunks = await store.readAttachment(projectId, eventId, attachmentId);
  if (chunks === undefined) return undefined;
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}
