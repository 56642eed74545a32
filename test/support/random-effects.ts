import { createHash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import process from 'node:process';
import type { Effect, EffectBatch, NewEvent } from '#lib/event-store/event-store.ts';
import { openEventStore } from '#lib/event-store/open-event-store.ts';
import { randomFrom } from './random-changes.ts';

/**
 * A program that applies the records of one partition in batches, from where its group is, until it is at the end or is
 * killed. After each batch it says on stdout how far it is. Each record is made of its offset, so that whoever kills the
 * program can tell what must be in the store from the position alone.
 */
export interface RandomEffectsOptions {
  readonly databaseUrl: string | undefined;
  readonly dataDir: string;
  readonly end: number;
  readonly seed: number;
}

export const CRASH_PARTITION = { group: 'crashes', topicId: 'crashes', partition: 0 };
export const CRASH_ORGANIZATION = 1n;
const MAX_BATCH = 40;
const CHUNK = Buffer.alloc(2_000, 'chunk');
const RECEIVED_MS = Date.now();

/** Of ten records: five events, one of them a duplicate, two chunks that the next event has, two refusals and a nothing. */
export function effectAt(index: number): Effect {
  const offset = BigInt(index);
  const round = Math.floor(index / 10);
  switch (index % 10) {
    case 0:
    case 1:
    case 2:
      return { kind: 'event', offset, event: eventAt(index) };
    case 3:
      return {
        kind: 'event',
        offset,
        event: { ...eventAt(index - 1), receivedMs: RECEIVED_MS + 1, title: 'duplicate' },
      };
    case 4:
    case 5: {
      const owner = eventAt(round * 10 + 6);
      return {
        kind: 'attachment_chunk',
        offset,
        chunk: { ...owner, attachmentId: 'attachment', index: (index % 10) - 4, data: CHUNK },
      };
    }
    case 6:
      return { kind: 'event', offset, event: eventAt(index) };
    case 7:
    case 8:
      return {
        kind: 'outcome',
        offset,
        outcome: {
          timestampMs: RECEIVED_MS,
          outcome: 'rate_limited',
          organizationId: CRASH_ORGANIZATION,
          projectId: 1n,
          keyId: 1n,
          reason: 'quota',
          eventId: undefined,
          remoteAddr: undefined,
          category: 'error',
          quantity: index,
        },
      };
    default:
      return { kind: 'none', offset };
  }
}

function eventAt(index: number): NewEvent {
  const eventId = createHash('md5').update(`${index}`).digest('hex');
  return {
    organizationId: CRASH_ORGANIZATION,
    projectId: 1n,
    keyId: 1n,
    eventId,
    receivedMs: RECEIVED_MS,
    retentionDays: 30,
    category: 'error',
    level: 'error',
    title: `event ${index}`,
    culprit: '',
    platform: 'python',
    release: '',
    environment: '',
    transaction: '',
    user: '',
    sdk: '',
    timeMs: RECEIVED_MS,
    searchText: '',
    body: Buffer.from(JSON.stringify({ event_id: eventId, index })),
    attachments:
      index % 10 === 6
        ? [
            {
              id: 'attachment',
              filename: 'a',
              contentType: '',
              attachmentType: 'event.attachment',
              sizeBytes: 2 * CHUNK.byteLength,
              data: undefined,
            },
          ]
        : [],
  };
}

export function batchFrom(from: number, size: number): EffectBatch {
  return { ...CRASH_PARTITION, effects: Array.from({ length: size }, (_, index) => effectAt(from + index)) };
}

if (process.argv[1] === import.meta.filename) {
  const options = JSON.parse(process.argv[2] ?? '{}') as RandomEffectsOptions;
  const random = randomFrom(options.seed);
  const store = await openEventStore(options);
  // What Node has compiled: killed, it would keep none of it.
  flushCompileCache();
  const { group, topicId, partition } = CRASH_PARTITION;
  let from = Number((await store.position(group, topicId, partition))?.offset ?? 0n);
  while (from < options.end) {
    const size = Math.ceil(random() * MAX_BATCH);
    await store.apply(batchFrom(from, size));
    from += size;
    writeSync(process.stdout.fd, `${from}\n`);
  }
  await store.close();
}
