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

export function writeOrgId(orgId: bigint): number | string {
  return orgId <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(orgId) : orgId.toString();
}
