import {
  ConfigService,
  type GetProjectConfigsRequest,
  GetProjectConfigsRequestSchema,
  WatchProjectConfigsRequestSchema,
} from '#gen/tideway/config/v1/config_service_pb.ts';
import type { ConfigCache } from '#lib/config-cache/config-cache.ts';
import type { Gate } from '#lib/server/gate.ts';
import { admit } from '#lib/server/rpc.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import { MAX_LOOKUP_KEYS } from '#lib/store/store.ts';
import { getProjectConfigs } from './get-project-configs.ts';
import { readPublicKey } from './public-key.ts';
import { Challenges } from './relay-challenge.ts';
import { Relays, type RelaysOptions } from './relays.ts';
import { projectConfigsRoute } from './sentry-project-configs.ts';
import { registrationRoutes } from './sentry-registration.ts';
import { Watchers } from './watch-project-configs.ts';

export interface ConfigServiceOptions {
  readonly gate: Gate;
  /** Closed with the service. */
  readonly cache: ConfigCache;
  readonly relays: RelaysOptions;
}

/** The config service: ConfigService by RPC, and what Sentry relays ask their upstream. */
export function configService({ gate, cache, relays: settings }: ConfigServiceOptions): ServiceParts {
  const relays = new Relays(settings);
  const callers = admit((headers) => relays.authenticate(headers.get('authorization') ?? undefined));
  const watchers = new Watchers(cache);
  const challenges = new Challenges(settings.tokens.find(({ isTrusted }) => isTrusted)?.secret);
  return {
    services: [ConfigService],
    http: [projectConfigsRoute(cache, relays), ...registrationRoutes(relays, challenges)],
    rpc(router, onError) {
      router.service(
        ConfigService,
        {
          async getProjectConfigs(request, context) {
            const isBinary = context.requestHeader.get('content-type')?.includes('json') === false;
            try {
              validateLookup(gate, request);
              return await getProjectConfigs(cache, request, callers.claimsOf(context), isBinary);
            } finally {
              // What connect-node leaves of a call outlives small collections: with 500 keys in it these take longer than
              // the lookup. Seen with --trace-gc.
              request.keys.length = 0;
            }
          },
          async *watchProjectConfigs(request, { signal }) {
            gate.validate(WatchProjectConfigsRequestSchema, request);
            yield* watchers.watch(request, signal);
          },
        },
        { requestGate: callers.requestGate(onError) },
      );
    },
    async drain() {
      watchers.drain();
    },
    close: () => cache.close(),
  };
}

/**
 * A key of the right form breaks no rule, so one of them stands for all: to hold 500 to the contract one by one takes
 * longer than to look them up. @throws Refusal
 */
function validateLookup(gate: Gate, request: GetProjectConfigsRequest): void {
  const { keys } = request;
  const areAlike =
    keys.length <= MAX_LOOKUP_KEYS && keys.every(({ publicKey }) => readPublicKey(publicKey) !== undefined);
  gate.validate(GetProjectConfigsRequestSchema, areAlike ? { ...request, keys: keys.slice(0, 1) } : request);
}
