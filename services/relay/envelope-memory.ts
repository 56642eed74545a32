import type { Envelope, Sender } from './envelope.ts';

/** What an envelope takes beside its bytes, with the few values that headers usually have. */
const ENVELOPE_BYTES = 1024;
/** Each of its items: objects, and the view of its payload. */
const ITEM_BYTES = 256;
/** A value in a header: an empty object is three bytes of JSON and sixty of memory. */
const VALUE_BYTES = 64;

/** What an envelope takes of memory while it waits, of a body of so many bytes: items and headers may be most of that. */
export function memoryOf(sender: Sender, { headers, items }: Envelope, bodyBytes: number): number {
  const { origin, userAgent, client } = sender;
  const senderBytes = (origin?.length ?? 0) + (userAgent?.length ?? 0) + (client?.length ?? 0);
  let values = valuesOf(headers);
  for (const item of items) values += valuesOf(item.headers);
  return bodyBytes + senderBytes + ENVELOPE_BYTES + items.length * ITEM_BYTES + values * VALUE_BYTES;
}

/** A part of a text would keep all of it. */
export function shortened(text: string, maxLength: number): string {
  return text.length <= maxLength ? text : Buffer.from(text.slice(0, maxLength)).toString();
}

/** Not of any depth: headers are held to one before. */
function valuesOf(headers: object): number {
  let values = 0;
  for (const key in headers) {
    const value: unknown = headers[key as keyof typeof headers];
    values += 1;
    if (typeof value === 'object' && value !== null) values += valuesOf(value);
  }
  return values;
}
