import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { bearerOf, type CallerVerifier, tokenPrincipal, type VerifiedToken } from './principal.ts';

/** Asks whoever keeps the tokens. Undefined: unknown, expired, revoked, or of a disabled organization. */
export type TokenLookup = (secret: string) => Promise<VerifiedToken | undefined>;

export interface ApiTokensOptions {
  readonly lookup: TokenLookup;
  readonly now?: () => number;
}

/**
 * API tokens, by the word of those who keep them, which holds for {@link TOKEN_CACHE_MS}: that, once here and once there,
 * is how long a revoked token lives on. What can't be a token costs nothing; many callers with one token ask once. Tokens
 * are remembered by a digest, in a bounded number, and those that were refused apart from the others: a flood of made-up
 * ones drives out no good one.
 */
export interface ApiTokens extends CallerVerifier {
  /** @throws what the lookup throws */
  verify(secret: string): Promise<VerifiedToken | undefined>;
}

export const TOKEN_CACHE_MS = 2_000;
const MAX_KNOWN = 10_000;
const MAX_REFUSED = 1_000;
const FORM = /^twa_[A-Za-z0-9_-]{43}$/;

interface Answer {
  readonly token: VerifiedToken | undefined;
  readonly atMs: number;
}

export function createApiTokens({ lookup, now = () => performance.now() }: ApiTokensOptions): ApiTokens {
  const known = new LRUCache<string, Answer>({ max: MAX_KNOWN });
  const refused = new LRUCache<string, Answer>({ max: MAX_REFUSED });
  const asking = new Map<string, Promise<VerifiedToken | undefined>>();

  async function ask(secret: string, key: string): Promise<VerifiedToken | undefined> {
    // Counted from before the question: a revocation may come between the answer and its arrival.
    const atMs = now();
    const token = await lookup(secret);
    if (token === undefined) known.delete(key);
    (token === undefined ? refused : known).set(key, { token, atMs });
    return token;
  }

  async function verify(secret: string): Promise<VerifiedToken | undefined> {
    if (!FORM.test(secret)) return undefined;
    const key = createHash('sha256').update(secret).digest('base64');
    const answer = known.get(key) ?? refused.get(key);
    if (answer !== undefined && now() - answer.atMs < TOKEN_CACHE_MS) return answer.token;
    let question = asking.get(key);
    if (question === undefined) {
      question = ask(secret, key).finally(() => asking.delete(key));
      asking.set(key, question);
    }
    return question;
  }

  return {
    verify,
    async authenticate(headers) {
      const secret = bearerOf(headers);
      const token = secret === undefined ? undefined : await verify(secret);
      return token && tokenPrincipal(token);
    },
  };
}
