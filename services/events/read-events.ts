import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import type {
  GetEventRequest,
  ListEventsRequest,
  ReadAttachmentRequest,
} from '#gen/tideway/events/v1/event_service_pb.ts';
import type { Principal } from '#lib/auth/principal.ts';
import { type EventQuery, SearchTooLongError } from '#lib/event-store/event-store.ts';
import { found } from '#lib/server/reach.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';
import { type EventReading, reachEvents, reachProjectEvents } from './caller.ts';
import { listedEventOf, wholeEventOf } from './messages.ts';
import { pageTokenOf, positionOf } from './page-token.ts';

const DEFAULT_PAGE_SIZE = 50;
const MAX_WORDS = 10;

export async function getEvent(reading: EventReading, request: GetEventRequest, principal: Principal) {
  const project = await reachProjectEvents(reading, principal, request);
  const event = found(await reading.events.get(project.id, eventIdOf(request.event)));
  return { event: wholeEventOf(event) };
}

export async function listEvents(reading: EventReading, request: ListEventsRequest, principal: Principal) {
  const { organizationId, projectId } = await reachEvents(reading, principal, request);
  const conditions = {
    organizationId,
    projectId,
    fromMs: msOf(request.startTime),
    toMs: msOf(request.endTime),
    level: request.level || undefined,
    release: request.release || undefined,
    environment: request.environment || undefined,
    category: request.category || undefined,
    words: wordsOf(request.query),
  };
  const bound = Object.values(conditions);
  const query: EventQuery = {
    ...conditions,
    after: positionOf(request.pageToken, bound),
    limit: request.pageSize || DEFAULT_PAGE_SIZE,
  };
  const { events, next } = await reading.events.list(query).catch(searchTooLong);
  return { events: events.map(listedEventOf), nextPageToken: pageTokenOf(next, bound) };
}

export async function* readAttachment(reading: EventReading, request: ReadAttachmentRequest, principal: Principal) {
  const project = await reachProjectEvents(reading, principal, request);
  const { attachment } = request;
  const chunks = found(await reading.events.readAttachment(project.id, eventIdOf(request.event), attachment));
  for await (const data of chunks) yield { data };
}

/** Ids are known with hyphens too. @throws Refusal */
function eventIdOf(text: string): string {
  const id = text.replaceAll('-', '').toLowerCase();
  if (id.length !== 32) throw invalidField('event', 'must be an event id: 32 hex digits');
  return id;
}

/** @throws Refusal */
function wordsOf(query: string): string[] {
  const words = query
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  if (words.length > MAX_WORDS) throw invalidField('query', `must have at most ${MAX_WORDS} words`);
  return words;
}

function msOf(time: Timestamp | undefined): number | undefined {
  return time === undefined ? undefined : timestampMs(time);
}

function searchTooLong(error: unknown): never {
  if (error instanceof SearchTooLongError) throw new Refusal('search_too_long', { cause: error });
  throw error;
}
