import {
  ConfigService,
  GetProjectConfigsRequestSchema,
  WatchProjectConfigsRequestSchema,
} from '#gen/tideway/config/v1/config_service_pb.ts';
import type { ConfigCache } from '#lib/config-cache/config-cache.ts';
import type { Gate } from '#lib/server/gate.ts';
import { admit } from '#lib/server/rpc.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import { getProjectConfigs } from './get-project-configs.ts';
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
          getProjectConfigs(request, context) {
            gate.validate(GetProjectConfigsRequestSchema, request);
            const isBinary = context.requestHeader.get('content-type')?.includes('json') === false;
            return getProjectConfigs(cache, request, callers.claimsOf(context), isBinary);
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
