import { isUuid } from '#lib/ids/uuid.ts';

/** The claims that say what a token is good for. Absent is undefined; of another form is `'malformed'`. */

const DECIMAL = /^(?:0|[1-9]\d{0,19})$/;
const MAX_UINT64 = (1n << 64n) - 1n;

/** A JSON number above 2^53 has lost digits on its way; such an organization is written as a string. */
export function readOrgId(claim: unknown): bigint | undefined | 'malformed' {
  if (claim === undefined) return undefined;
  if (typeof claim === 'number') return Number.isSafeInteger(claim) && claim >= 0 ? BigInt(claim) : 'malformed';
  if (typeof claim !== 'string' || !DECIMAL.test(claim)) return 'malformed';
  const orgId = BigInt(claim);
  return orgId <= MAX_UINT64 ? orgId : 'malformed';
}

/** The channel in lower case. */
export function readChannelId(claim: unknown): string | undefined | 'malformed' {
  if (claim === undefined) return undefined;
  return typeof claim === 'string' && isUuid(claim) ? claim.toLowerCase() : 'malformed';
}

/** The channels in lower case; none at all is malformed. How many there may be is a matter of the token's size. */
export function readChannelIds(claim: unknown): readonly string[] | undefined | 'malformed' {
  if (claim === undefined) return undefined;
  if (!Array.isArray(claim) || claim.length === 0) return 'malformed';
  const channelIds: string[] = [];
  for (const id of claim) {
    if (typeof id !== 'string' || !isUuid(id)) return 'malformed';
    channelIds.push(id.toLowerCase());
  }
  return Object.freeze(channelIds);
}

export function writeOrgId(orgId: bigint): number | string {
  return orgId <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(orgId) : orgId.toString();
}
