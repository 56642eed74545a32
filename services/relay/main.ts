import { openLog } from '#lib/log/open-log.ts';
import { Env } from '#lib/server/env.ts';
import { Gate } from '#lib/server/gate.ts';
import { sharedLogSettings } from '#lib/server/log-settings.ts';
import { logNeed } from '#lib/server/needs.ts';
import { runMain } from '#lib/server/run-main.ts';
import { runService } from '#lib/server/run-service.ts';
import { commonSettings, dataDir, developmentKeys } from '#lib/server/settings.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import type { ConfigSource } from './project-cache.ts';
import { relayService } from './relay.ts';
import { loadOrCreateRelayIdentity } from './relay-identity.ts';
import { INTAKE_TIMEOUT_MS } from './routes.ts';
import { createRpcConfigSource, openConfigTransport } from './rpc-config-source.ts';
import { createSentryConfigSource } from './sentry-config-source.ts';
import { createSentryUpstream } from './sentry-upstream.ts';
import { configUrl, firstToken, type RelaySettings, relaySettings } from './settings.ts';

await runMain('relay', async () => {
  const env = new Env(process.env);
  const common = commonSettings(env);
  const logger = createLogger('relay', common.logLevel);
  const settings = relaySettings(env, await developmentKeys(env));
  const port = env.port('RELAY_PORT', 9006);
  const source = await openSource(env, settings, (error) => logger.warn({ err: error }, 'project configs'));
  const log = await openLog(sharedLogSettings(env));
  return runService({
    ...common,
    broker: undefined,
    port,
    needs: [logNeed(log)],
    // Over HTTP/2 as well, where a port has one for all.
    limits: { requestTimeoutMs: INTAKE_TIMEOUT_MS },
    logger,
    reflection: !common.isProduction,
    parts: [relayService({ gate: new Gate({}), log, source, redis: common.broker, settings, logger })],
  });
});

async function openSource(env: Env, settings: RelaySettings, onError: (error: unknown) => void): Promise<ConfigSource> {
  if (settings.upstreamUrl !== undefined) {
    const identity = await loadOrCreateRelayIdentity(dataDir(env));
    const upstream = createSentryUpstream({ url: settings.upstreamUrl, identity });
    return createSentryConfigSource({ upstream, maxProjects: settings.maxProjects });
  }
  const { transport, close } = openConfigTransport(configUrl(env));
  const source = createRpcConfigSource({ transport, token: firstToken(settings), onError });
  return {
    ...source,
    close() {
      source.close();
      close();
    },
  };
}
