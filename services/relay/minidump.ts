import { sendAccepted, sendText } from './answers.ts';
import { attachmentOf } from './attachments.ts';
import type { Item } from './envelope.ts';
import { asUuid, newEventId, readEventId } from './envelope-event-id.ts';
import { MINIDUMP } from './envelope-limits.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import { envelopeOf, type IntakeCall, itemOf } from './http-call.ts';
import { type Form, type FormFile, isMultipart, readForm } from './http-multipart.ts';
import { eventOfForm } from './minidump-event.ts';

/** The form's field that has the dump. */
const DUMP_FIELD = 'upload_file_minidump';

/** What a minidump begins with, on machines of either byte order. */
const MAGICS = ['MDMP', 'PMDM'];

/**
 * `POST /api/{project}/minidump/`: what crash reporters send, a form with the dump, or the dump itself. It becomes an
 * event with attachments. Crash reporters show the answer as it is. @throws EnvelopeRefusal
 */
export async function takeMinidump(call: IntakeCall): Promise<void> {
  const form = isMultipart(call) ? await readForm(call) : await readDump(call);
  requireDump(form);
  const fields = eventOfForm(form.fields);
  const eventId = readEventId(fields['event_id']) ?? newEventId();
  const payload = Buffer.from(JSON.stringify({ ...fields, event_id: eventId }));
  const items = [itemOf('event', payload), ...form.files.map(fileOf)];
  const bytes = items.reduce((sum, item) => sum + item.payload.byteLength, 0);
  const accepted = call.accept(envelopeOf(eventId, items), bytes);
  sendAccepted(call.response, accepted, () => sendText(call.response, asUuid(eventId)));
}

function fileOf(file: FormFile): Item {
  const item = attachmentOf(file);
  return file.name === DUMP_FIELD ? { ...item, attachmentType: MINIDUMP } : item;
}

async function readDump(call: IntakeCall): Promise<Form> {
  const bytes = await call.read(call.options.limits.maxAttachmentBytes);
  if (bytes.byteLength === 0) throw new EnvelopeRefusal('empty_body');
  const contentType = call.contentType || undefined;
  return { fields: [], files: [{ name: DUMP_FIELD, filename: 'minidump.dmp', contentType, bytes }] };
}

function requireDump({ files }: Form): void {
  const dump = files.find(({ name }) => name === DUMP_FIELD);
  if (dump === undefined) throw new EnvelopeRefusal('missing_minidump');
  if (!MAGICS.includes(dump.bytes.toString('latin1', 0, 4))) throw new EnvelopeRefusal('invalid_minidump');
}
