import { createPublicKey, type KeyObject, verify } from 'node:crypto';

/**
 * The signature of a Sentry relay: `base64url(Ed25519 over header + NUL + body) . base64url(header)`, where the header is
 * JSON with the time of signing in `t`.
 */
export type RelayKey = KeyObject;

export type SignatureCheck = 'valid' | 'malformed' | 'expired' | 'wrong';

export const MAX_SIGNATURE_AGE_MS = 5 * 60_000;
/** The relay's clock may be ahead. */
const MAX_CLOCK_AHEAD_MS = 60_000;

const FORM = /^([A-Za-z0-9_-]{86})(?:==)?\.([A-Za-z0-9_-]{1,1000}=*)$/;
const RAW_KEY = /^[A-Za-z0-9_-]{43}=?$/;

export interface ParsedSignature {
  readonly signature: Buffer;
  readonly header: Buffer;
  readonly signedAtMs: number;
}

export function parseSignature(text: string): ParsedSignature | undefined {
  const [, signature, header] = FORM.exec(text) ?? [];
  if (signature === undefined || header === undefined) return undefined;
  const bytes = Buffer.from(header, 'base64url');
  const signedAtMs = readTime(bytes.toString('utf8'));
  if (signedAtMs === undefined) return undefined;
  return { signature: Buffer.from(signature, 'base64url'), header: bytes, signedAtMs };
}

export function isExpired({ signedAtMs }: ParsedSignature, nowMs: number): boolean {
  return nowMs - signedAtMs > MAX_SIGNATURE_AGE_MS || signedAtMs - nowMs > MAX_CLOCK_AHEAD_MS;
}

export function verifies({ signature, header }: ParsedSignature, body: Uint8Array, key: RelayKey): boolean {
  return verify(null, Buffer.concat([header, NUL, body]), key, signature);
}

/** 32 bytes in base64url. Undefined where it is none. */
export function readRelayKey(text: string): RelayKey | undefined {
  if (!RAW_KEY.test(text)) return undefined;
  try {
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: text.replace('=', '') }, format: 'jwk' });
  } catch {
    return undefined;
  }
}

const NUL = Buffer.from([0]);

function readTime(header: string): number | undefined {
  try {
    const json: unknown = JSON.parse(header);
    const time = typeof json === 'object' && json !== null && 't' in json ? json.t : undefined;
    const ms = typeof time === 'string' && RFC3339.test(time) ? Date.parse(time) : Number.NaN;
    return Number.isNaN(ms) ? undefined : ms;
  } catch {
    return undefined;
  }
}

const RFC3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/;
