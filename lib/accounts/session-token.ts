import { randomBytes } from 'node:crypto';
import { hashOfSecret } from '#lib/store/secrets.ts';

/** What session tokens begin with, so that a leaked one is recognized, and none is taken for an API token. */
const PREFIX = 'tws_';
const TOKEN_BYTES = 32;
const FORM = /^tws_[A-Za-z0-9_-]{43}$/;

export function newSessionToken(): { readonly token: string; readonly hash: string } {
  const token = PREFIX + randomBytes(TOKEN_BYTES).toString('base64url');
  return { token, hash: hashOfSecret(token) };
}

/** Undefined: it can't be one, and nobody has to be asked. */
export function sessionTokenHash(token: string): string | undefined {
  return FORM.test(token) ? hashOfSecret(token) : undefined;
}
