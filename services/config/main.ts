import { openConfigCache } from '#lib/config-cache/open-config-cache.ts';
import { Env } from '#lib/server/env.ts';
import { Gate } from '#lib/server/gate.ts';
import { runMain } from '#lib/server/run-main.ts';
import { runService } from '#lib/server/run-service.ts';
import { commonSettings, developmentKeys, storeSettings } from '#lib/server/settings.ts';
import { openStore } from '#lib/store/open-store.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { configService } from './routes.ts';
import { configSettings, requireRelays } from './settings.ts';

await runMain('config', async () => {
  const env = new Env(process.env);
  const common = commonSettings(env);
  const logger = createLogger('config', common.logLevel);
  const settings = configSettings(env, await developmentKeys(env));
  requireRelays(settings.relays);
  const port = env.port('CONFIG_PORT', 9005);
  const store = await openStore(storeSettings(env));
  const onError = (error: unknown) => logger.error({ err: error }, 'config lookup met something unexpected');
  const cache = openConfigCache({ store, redis: common.broker, onError, ...settings.cache });
  return runService({
    ...common,
    broker: undefined,
    port,
    store,
    logger,
    reflection: !common.isProduction,
    parts: [configService({ gate: new Gate({}), cache, relays: settings.relays })],
  });
});
