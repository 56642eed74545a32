/**
 * An entry's place in its channel's log, `<ms>-<n>` as Redis Streams spells it: decimal, no leading zeros, both parts
 * below 2^64. Values of this type were checked or made by a broker; everything else goes through {@link parseEntryId}.
 */
export type EntryId = string & { readonly __entryId: unique symbol };

/** Before every entry: the `prev` of a log's first one, and the cursor of a reader that has none. */
export const BEFORE_ALL = '0-0' as EntryId;

const FORM = /^0*(\d{1,20})(?:-0*(\d{1,20}))?$/;
const MAX_PART = (1n << 64n) - 1n;
const MAX_LENGTH = 64;

/**
 * Reads an id that came from outside (a Last-Event-ID). `<ms>` alone means `<ms>-0`.
 * Returns undefined for text that cannot be an id.
 */
export function parseEntryId(text: string): EntryId | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const match = FORM.exec(text);
  if (!match) return undefined;
  const [, ms = '0', n = '0'] = match;
  if ((ms.length === 20 && BigInt(ms) > MAX_PART) || (n.length === 20 && BigInt(n) > MAX_PART)) return undefined;
  return `${ms}-${n}` as EntryId;
}

/** Negative if `a` is before `b`, 0 if they are the same, positive if `a` is after `b`. */
export function compareEntryIds(a: EntryId, b: EntryId): number {
  if (a === b) return 0;
  const dashA = a.indexOf('-');
  const dashB = b.indexOf('-');
  return (
    compareDecimals(a.slice(0, dashA), b.slice(0, dashB)) || compareDecimals(a.slice(dashA + 1), b.slice(dashB + 1))
  );
}

/** The milliseconds since the epoch at which the entry was stored, by the broker's clock. */
export function entryIdMs(id: EntryId): number {
  return Number(id.slice(0, id.indexOf('-')));
}

// Without leading zeros the longer number is the larger one, and equal lengths compare as text: no BigInt on the hot path.
function compareDecimals(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
