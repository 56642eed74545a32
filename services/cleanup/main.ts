import { openBroker } from '#lib/broker/open-broker.ts';
import { Env } from '#lib/server/env.ts';
import { runMain } from '#lib/server/run-main.ts';
import { runService } from '#lib/server/run-service.ts';
import { commonSettings, sharedBroker } from '#lib/server/settings.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { cleanupService } from './cleanup.ts';
import { cleanupSettings } from './settings.ts';

await runMain('cleanup', async () => {
  const env = new Env(process.env);
  const common = commonSettings(env);
  const logger = createLogger('cleanup', common.logLevel);
  const broker = openBroker(sharedBroker(env, common));
  return runService({
    ...common,
    port: env.port('CLEANUP_PORT', 9003),
    broker,
    logger,
    reflection: !common.isProduction,
    parts: [cleanupService({ broker, logger, ...cleanupSettings(env) })],
  });
});
