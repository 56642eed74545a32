import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import {
  TokenService,
  type VerifyTokenRequest,
  VerifyTokenRequestSchema,
} from '#gen/tideway/control/v1/token_service_pb.ts';
import type { ApiTokens } from '#lib/auth/api-tokens.ts';
import type { Gate } from '#lib/server/gate.ts';
import { Refusal } from '#lib/server/refusal.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';

/**
 * For services that run apart: what a token is good for. Whoever asks has the token, and learns nothing that the token
 * would not tell anyway, so that the call needs no other.
 */
export function tokenService(gate: Gate, tokens: ApiTokens): ServiceParts {
  const calls = {
    async verifyToken(request: VerifyTokenRequest, _context: HandlerContext) {
      gate.validate(VerifyTokenRequestSchema, request);
      const token = await tokens.verify(request.token);
      if (token === undefined) throw new Refusal('api_token_invalid');
      return { id: token.id, organizationId: token.organizationId, scopes: [...token.scopes] };
    },
  } satisfies ServiceImpl<typeof TokenService>;
  return {
    services: [TokenService],
    http: [],
    rpc(router) {
      router.service(TokenService, calls);
    },
  };
}
