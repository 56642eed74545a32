import { createHash, randomBytes } from 'node:crypto';

/** What API tokens begin with: so that scanners of leaked secrets, and people, know one when they see it. */
const API_TOKEN_PREFIX = 'twa_';
const INVITATION_PREFIX = 'twi_';
const SECRET_BYTES = 32;

export interface NewSecret {
  readonly secret: string;
  readonly hash: string;
}

export function newApiSecret(): NewSecret {
  return newSecret(API_TOKEN_PREFIX);
}

export function newInvitationSecret(): NewSecret {
  return newSecret(INVITATION_PREFIX);
}

/** The user part of a DSN. Not a secret: every browser that reports has it. */
export function newPublicKey(): string {
  return randomBytes(16).toString('hex');
}

/** Without salt and cost, as a secret of 256 random bits can't be guessed; so it can be found by its hash. */
export function hashOfSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function newSecret(prefix: string): NewSecret {
  const secret = prefix + randomBytes(SECRET_BYTES).toString('base64url');
  return { secret, hash: hashOfSecret(secret) };
}
