import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { TokenService } from '#gen/tideway/control/v1/token_service_pb.ts';
import type { TokenLookup } from './api-tokens.ts';
import { TokensUnavailableError } from './principal.ts';

export interface RemoteTokens {
  readonly lookup: TokenLookup;
  close(): void;
}

/** Asks the control service about tokens, on one connection. The lookup throws TokensUnavailableError. */
export function remoteTokens(controlUrl: string): RemoteTokens {
  const sessionManager = new Http2SessionManager(controlUrl, { pingIntervalMs: PING_INTERVAL_MS });
  const client = createClient(TokenService, createGrpcTransport({ baseUrl: controlUrl, sessionManager }));
  let waiting = 0;
  return {
    async lookup(token) {
      if (waiting >= MAX_WAITING) throw new TokensUnavailableError('too many tokens are being asked about');
      waiting++;
      try {
        const { id, organizationId, scopes } = await client.verifyToken({ token }, { timeoutMs: DEADLINE_MS });
        return { id, organizationId, scopes };
      } catch (error) {
        if (ConnectError.from(error).code === Code.Unauthenticated) return undefined;
        throw new TokensUnavailableError('the control service does not answer', { cause: error });
      } finally {
        waiting--;
      }
    },
    close: () => sessionManager.abort(),
  };
}

const DEADLINE_MS = 2_000;
const PING_INTERVAL_MS = 10_000;
/** Different tokens at a time: the same one is asked about once. */
const MAX_WAITING = 200;
