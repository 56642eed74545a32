import { type ApiTokens, createApiTokens } from '#lib/auth/api-tokens.ts';
import { type CallerVerifier, settingsToken } from '#lib/auth/principal.ts';
import { SCOPES, type Scope } from '#lib/auth/scopes.ts';
import type { Store } from '#lib/store/store.ts';

/** API tokens as the store knows them. */
export function apiTokensOf(store: Store): ApiTokens {
  return createApiTokens({ lookup: (secret) => store.apiTokens.authenticate(secret) });
}

/** Who may manage things: the holder of the operator's token, if there is one, and the holders of API tokens. */
export function callersOf(operatorToken: string | undefined, apiTokens: ApiTokens): CallerVerifier[] {
  return [...settingsTokens(operatorToken, SCOPES), apiTokens];
}

/** Who may start streams in production: the holder of that token, if there is one, and the holders of API tokens. */
export function startersOf(startToken: string | undefined, apiTokens: ApiTokens | undefined): CallerVerifier[] {
  return [...settingsTokens(startToken, ['streams:start']), ...(apiTokens === undefined ? [] : [apiTokens])];
}

function settingsTokens(token: string | undefined, scopes: readonly Scope[]): CallerVerifier[] {
  return token === undefined ? [] : [settingsToken(token, scopes)];
}
