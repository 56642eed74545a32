import { create, type JsonObject, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Event, EventSchema, OutcomeCountSchema } from '#gen/tideway/events/v1/event_service_pb.ts';
import type { ListedEvent, OutcomeTotal, StoredEvent } from '#lib/event-store/event-store.ts';
import { boundedDepth } from './bounded-depth.ts';

/** An event as lists have it. */
export function listedEventOf(event: ListedEvent): Event {
  return create(EventSchema, initOf(event));
}

/** An event with its body. */
export function wholeEventOf(event: StoredEvent): Event {
  const body = JSON.parse(Buffer.from(event.body).toString()) as JsonObject;
  return create(EventSchema, { ...initOf(event), body: boundedDepth(body) });
}

export function outcomeCountOf(count: OutcomeTotal & { readonly hourMs?: number }) {
  const { projectId, keyId, outcome, reason, category, quantity, times } = count;
  return create(OutcomeCountSchema, {
    projectId,
    keyId,
    outcome,
    reason,
    category,
    quantity,
    times,
    ...(count.hourMs === undefined ? {} : { hour: timestampFromMs(count.hourMs) }),
  });
}

function initOf(event: ListedEvent): MessageInitShape<typeof EventSchema> {
  return {
    id: event.eventId,
    projectId: event.projectId,
    keyId: event.keyId,
    category: event.category,
    level: event.level,
    title: event.title,
    culprit: event.culprit,
    platform: event.platform,
    release: event.release,
    environment: event.environment,
    transaction: event.transaction,
    user: event.user,
    sdk: event.sdk,
    time: timestampFromMs(event.timeMs),
    receiveTime: timestampFromMs(event.receivedMs),
    expireTime: timestampFromMs(event.expiresMs),
    attachments: event.attachments.map(({ id, filename, contentType, attachmentType, sizeBytes }) => ({
      id,
      filename,
      contentType,
      attachmentType,
      sizeBytes: BigInt(sizeBytes),
    })),
  };
}
