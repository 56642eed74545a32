import { sendAccepted, sendId, sendPixel } from './answers.ts';
import { readEventFields } from './envelope-event-fields.ts';
import { newEventId, readEventId } from './envelope-event-id.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import { envelopeOf, type IntakeCall, itemOf } from './http-call.ts';
import { takeEnvelope } from './http-envelope.ts';
import { queryParameter } from './http-query.ts';
import { isLenientClient } from './lenient-clients.ts';
import { decodeStoreBody, maxStoreBodyBytes } from './store-body.ts';

/** `POST|GET /api/[{project}/]store/`: one event. @throws EnvelopeRefusal */
export async function takeStore(call: IntakeCall): Promise<void> {
  if (call.request.method === 'GET') {
    takeEvent(call, Buffer.from(queryParameter(call.query, 'sentry_data') ?? ''), () => sendPixel(call.response));
    return;
  }
  if (call.contentType === 'application/x-sentry-envelope') return takeEnvelope(call);
  const body = await call.read(maxStoreBodyBytes(call.options.limits.maxEventBytes));
  takeEvent(call, body, (eventId) => sendId(call.response, eventId));
}

function takeEvent(call: IntakeCall, body: Buffer, success: (eventId: string) => void): void {
  const payload = decodeStoreBody(body, call.options.limits.maxEventBytes);
  const fields = readEventFields(payload, isLenientClient(call.sender?.client));
  if (fields === undefined) throw new EnvelopeRefusal('invalid_json');
  const eventId = fields.eventId === undefined ? newEventId() : readEventId(fields.eventId);
  if (eventId === undefined) throw new EnvelopeRefusal('invalid_event_id');
  const type = fields.type === 'transaction' ? 'transaction' : 'event';
  const accepted = call.accept(envelopeOf(eventId, [itemOf(type, payload)]), payload.byteLength);
  sendAccepted(call.response, accepted, () => success(eventId));
}
