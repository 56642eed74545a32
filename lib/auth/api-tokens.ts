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

interface Question {
  readonly atMs: number;
  readonly answer: Promise<VerifiedToken | undefined>;
}

export function createApiTokens({ lookup, now = () => performance.now() }: ApiTokensOptions): ApiTokens {
  const known = new LRUCache<string, Answer>({ max: MAX_KNOWN });
  const refused = new LRUCache<string, Answer>({ max: MAX_REFUSED });
  const asking = new Map<string, Question>();

  /** `atMs`: from before the question, as a revocation may come between the answer and its arrival. */
  async function ask(secret: string, key: string, atMs: number): Promise<VerifiedToken | undefined> {
    const token = await lookup(secret);
    if (token === undefined) known.delete(key);
    (token === undefined ? refused : known).set(key, { token, atMs });
    return token;
  }

  async function verify(secret: string): Promise<VerifiedToken | undefined> {
    if (!FORM.test(secret)) return undefined;
    const key = createHash('sha256').update(secret).digest('base64');
    const nowMs = now();
    const isFresh = (of: { readonly atMs: number } | undefined) => of !== undefined && nowMs - of.atMs < TOKEN_CACHE_MS;
    const answer = [known.get(key), refused.get(key)].find(isFresh);
    if (answer !== undefined) return answer.token;
    let question = asking.get(key);
    // What is answered late may have been read before a revocation that the caller knows of.
    if (question === undefined || !isFresh(question)) {
      const own: Question = { atMs: nowMs, answer: ask(secret, key, nowMs) };
      question = own;
      asking.set(key, own);
      const forget = () => void (asking.get(key) === own && asking.delete(key));
      own.answer.then(forget, forget);
    }
    return question.answer;
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
