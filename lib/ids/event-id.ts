/** An event's id (32 hex digits) as a UUID is spelled elsewhere: with hyphens. */
export function uuidOfEventId(eventId: string): string {
  const part = (from: number, to: number) => eventId.slice(from, to);
  return `${part(0, 8)}-${part(8, 12)}-${part(12, 16)}-${part(16, 20)}-${part(20, 32)}`;
}
