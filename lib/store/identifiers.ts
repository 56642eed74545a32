import type { Ref } from './store.ts';

/** What both databases can keep in a number. */
export const MAX_NUMBER = 2n ** 63n - 1n;

const MAX_DIGITS = 19;
const SLUG = /^[a-z0-9-]{1,50}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const PUBLIC_KEY = /^[0-9a-f]{32}$/;

/** Undefined: what nothing can be called. Paths and relays say what they like, and some of it no database takes. */
export function parseRef(ref: Ref): { readonly id: bigint } | { readonly slug: string } | undefined {
  if (typeof ref === 'string' && !/^[0-9]+$/.test(ref)) return SLUG.test(ref) ? { slug: ref } : undefined;
  if (typeof ref === 'string' && ref.length > MAX_DIGITS) return undefined;
  const id = BigInt(ref);
  return id < 0n || id > MAX_NUMBER ? undefined : { id };
}

export function isUuid(id: string): boolean {
  return UUID.test(id);
}

export function isPublicKey(key: string): boolean {
  return PUBLIC_KEY.test(key);
}

/** PostgreSQL takes every character but this one. */
export function isStorable(text: string): boolean {
  return !text.includes('\0');
}
