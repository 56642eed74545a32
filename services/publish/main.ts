import { openBroker } from '#lib/broker/open-broker.ts';
import { Env } from '#lib/server/env.ts';
import { Gate } from '#lib/server/gate.ts';
import { runMain } from '#lib/server/run-main.ts';
import { runService } from '#lib/server/run-service.ts';
import { commonSettings, developmentKeys, publishTokens, sharedBroker } from '#lib/server/settings.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { publishService } from './routes.ts';
import { publishSettings } from './settings.ts';

await runMain('publish', async () => {
  const env = new Env(process.env);
  const common = commonSettings(env);
  const logger = createLogger('publish', common.logLevel);
  const tokens = await publishTokens(env, await developmentKeys(env), (error) => logger.warn({ err: error }));
  const broker = openBroker(sharedBroker(env, common));
  const gate = new Gate({ publishTokens: tokens.verifier });
  return runService({
    ...common,
    port: env.port('PUBLISH_PORT', 9001),
    broker,
    logger,
    reflection: !common.isProduction,
    parts: [publishService({ gate, broker, logger, ...publishSettings(env) })],
  });
});
