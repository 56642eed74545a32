const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** A UUID as contracts and tokens spell it: with hyphens, in either case. */
export function isUuid(text: string): boolean {
  return UUID.test(text);
}
