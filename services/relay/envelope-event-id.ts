import { randomBytes } from 'node:crypto';

const FORM = /^[0-9a-f]{32}$/;

/** An event's id as it is known from here on: 32 lower-case hex digits. Hyphens are taken, wherever they stand. */
export function readEventId(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  if (FORM.test(value)) return value;
  if (value.length > 36) return undefined;
  const id = value.replaceAll('-', '').toLowerCase();
  return FORM.test(id) ? id : undefined;
}

/** A random UUID (version 4), spelt as event ids are. */
export function newEventId(): string {
  const bytes = randomBytes(16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString('hex');
}

/** With hyphens. */
export function asUuid(eventId: string): string {
  return eventId.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
