import { createRegistry } from '@bufbuild/protobuf';
import { file_google_rpc_error_details } from '#gen/google/rpc/error_details_pb.ts';
import { AccountService } from '#gen/tideway/control/v1/account_service_pb.ts';
import { createMemoryThrottle } from '#lib/accounts/memory-throttle.ts';
import { createOidcProvider } from '#lib/accounts/oidc.ts';
import { createRedisThrottle } from '#lib/accounts/redis-throttle.ts';
import { createSessionCallers, type SessionCallers } from '#lib/accounts/session-callers.ts';
import { ownCookie, sessionCookie } from '#lib/accounts/session-cookie.ts';
import { createAccounts } from '#lib/accounts/sql-accounts.ts';
import type { Gate } from '#lib/server/gate.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import type { Database } from '#lib/store/database.ts';
import type { Store } from '#lib/store/store.ts';
import { accountCalls } from './account-service.ts';
import type { accountSettings } from './account-settings.ts';
import { oidcRoutes } from './oidc-routes.ts';

/** Accounts, and who is let in by them. */
export interface AccountParts {
  /** For the gate. */
  readonly callers: SessionCallers;
  service(gate: Gate): ServiceParts;
}

const MAX_REQUEST_BYTES = 16 * 1024;

/** @throws InvalidRedisUrlError */
export function accountParts(
  database: Database,
  store: Store,
  settings: ReturnType<typeof accountSettings>,
): AccountParts {
  const { redis, signUp, sessionLimits, publicUrl, trustedHops, oidc } = settings;
  const shared = redis === undefined ? undefined : createRedisThrottle(redis);
  const throttle = shared ?? createMemoryThrottle();
  const accounts = createAccounts(database, { signUp, throttle, sessionLimits });
  const cookieOptions = { secure: settings.secureCookies };
  const cookie = sessionCookie(cookieOptions);
  const publicOrigin = publicUrl === undefined ? undefined : new URL(publicUrl).origin;
  const callers = createSessionCallers({ accounts, members: store.members, cookie, publicOrigin });
  return {
    callers,
    service(gate) {
      const face = { gate, accounts, callers, cookie, publicUrl, trustedHops };
      const flowCookie = ownCookie('tideway_oidc', cookieOptions);
      return {
        services: [AccountService],
        http: oidc === undefined ? [] : oidcRoutes({ ...face, provider: createOidcProvider(oidc), flowCookie }),
        rpc(router) {
          router.service(AccountService, accountCalls(face), {
            jsonOptions: { ignoreUnknownFields: false, registry: createRegistry(file_google_rpc_error_details) },
            readMaxBytes: MAX_REQUEST_BYTES,
          });
        },
        close() {
          accounts.close();
          shared?.close();
        },
      };
    },
  };
}
