import { sendAccepted, sendEmpty } from './answers.ts';
import type { Item } from './envelope.ts';
import { readEventId } from './envelope-event-id.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import { envelopeOf, type IntakeCall, itemOf } from './http-call.ts';
import { type FormFile, isMultipart, readForm } from './http-multipart.ts';

/**
 * `POST /api/{project}/events/{event}/attachments/`: files for an event that has come or will come, as a form or one as it
 * is. @throws EnvelopeRefusal
 */
export async function takeAttachments(call: IntakeCall, event: string): Promise<void> {
  const eventId = readEventId(event);
  if (eventId === undefined) throw new EnvelopeRefusal('invalid_event_id');
  const items = isMultipart(call) ? (await readForm(call)).files.map(attachmentOf) : [await readFile(call)];
  if (items.length === 0) throw new EnvelopeRefusal('missing_attachment');
  const bytes = items.reduce((sum, { payload }) => sum + payload.byteLength, 0);
  const accepted = call.accept(envelopeOf(eventId, items), bytes);
  sendAccepted(call.response, accepted, () => sendEmpty(call.response, 201));
}

/** For an event that has come or will come, a minidump is a file like any other: it makes no event of its own. */
export function attachmentOf({ name, filename, contentType, bytes }: FormFile): Item {
  return itemOf('attachment', bytes, { filename: filename ?? name, contentType, attachmentType: 'event.attachment' });
}

async function readFile(call: IntakeCall): Promise<Item> {
  const payload = await call.read(call.options.limits.maxAttachmentBytes);
  if (payload.byteLength === 0) throw new EnvelopeRefusal('empty_body');
  return itemOf('attachment', payload, {
    filename: 'attachment',
    contentType: call.contentType || undefined,
    attachmentType: 'event.attachment',
  });
}
