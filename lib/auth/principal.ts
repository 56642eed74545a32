import { timingSafeEqual } from 'node:crypto';
import type { Actor } from '#lib/store/store.ts';
import { type Scope, scopeSet } from './scopes.ts';
import { secretDigest } from './secret-digest.ts';

/** Somebody who was let in: a token's holder, a user, or who operates this installation. */
export interface Principal {
  /** For the audit log. */
  readonly actor: Actor;
  /** Where it has a part: what lists are made of. */
  readonly reach: Reach;
  /** What it may do in an organization. Undefined: it has no part in it, and must not learn whether it exists. */
  scopesIn(organizationId: bigint): Promise<ReadonlySet<Scope> | undefined>;
}

export type Reach =
  /** Every organization: who operates the installation. */
  | { readonly kind: 'installation' }
  /** One: a token's. */
  | { readonly kind: 'organization'; readonly organizationId: bigint }
  /** Those that a user is a member of. */
  | { readonly kind: 'memberships'; readonly userId: string };

/** A way to be let in. The gate asks one after the other. */
export interface CallerVerifier {
  /**
   * Who sends these headers; undefined: nobody that this verifier knows.
   * @throws TokensUnavailableError, StoreUnavailableError where it can't tell
   */
  authenticate(headers: Headers): Promise<Principal | undefined>;
}

/** Those who know the tokens did not answer. */
export class TokensUnavailableError extends Error {
  override readonly name = 'TokensUnavailableError';
}

/** What is known of an API token in force. */
export interface VerifiedToken {
  readonly id: string;
  readonly organizationId: bigint;
  readonly scopes: readonly string[];
}

export function tokenPrincipal({ id, organizationId, scopes }: VerifiedToken): Principal {
  const allowed = scopeSet(scopes);
  return {
    actor: `token:${id}`,
    reach: { kind: 'organization', organizationId },
    scopesIn: async (asked) => (asked === organizationId ? allowed : undefined),
  };
}

/** A secret of the settings, good in every organization for the scopes given. */
export function settingsToken(secret: string, scopes: readonly Scope[]): CallerVerifier {
  const expected = secretDigest(secret);
  const allowed = scopeSet(scopes);
  const principal: Principal = {
    actor: 'system',
    reach: { kind: 'installation' },
    scopesIn: async () => allowed,
  };
  return {
    async authenticate(headers) {
      const token = bearerOf(headers);
      return token !== undefined && timingSafeEqual(secretDigest(token), expected) ? principal : undefined;
    },
  };
}

/** The token of an Authorization header, if there is one. */
export function bearerOf(headers: Headers): string | undefined {
  const value = headers.get('authorization');
  return value?.startsWith('Bearer ') === true ? value.slice('Bearer '.length).trim() : undefined;
}
