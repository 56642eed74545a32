import { createApiTokens } from '#lib/auth/api-tokens.ts';
import { remoteTokens } from '#lib/auth/remote-tokens.ts';
import { openBroker } from '#lib/broker/open-broker.ts';
import { startersOf } from '#lib/server/callers.ts';
import { Env } from '#lib/server/env.ts';
import { Gate } from '#lib/server/gate.ts';
import { runMain } from '#lib/server/run-main.ts';
import { runService } from '#lib/server/run-service.ts';
import {
  commonSettings,
  developmentKeys,
  httpUrl,
  sharedBroker,
  startToken,
  streamTokens,
} from '#lib/server/settings.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { streamService } from './routes.ts';
import { streamSettings } from './settings.ts';

await runMain('stream', async () => {
  const env = new Env(process.env);
  const common = commonSettings(env);
  const logger = createLogger('stream', common.logLevel);
  const development = await developmentKeys(env);
  const tokens = await streamTokens(env, development, (error) => logger.warn({ err: error }));
  const controlUrl = httpUrl(env, 'CONTROL_URL');
  const broker = openBroker(sharedBroker(env, common));
  const control = controlUrl === undefined ? undefined : remoteTokens(controlUrl);
  const gate = new Gate({
    streamTokens: tokens.verifier,
    starters: common.isProduction ? startersOf(startToken(env), control && createApiTokens(control)) : 'anybody',
  });
  return runService({
    ...common,
    port: env.port('GATEWAY_PORT', 9002),
    broker,
    logger,
    reflection: !common.isProduction,
    parts: [
      streamService({ gate, broker, logger, signer: tokens.signer, ...streamSettings(env) }),
      { services: [], rpc() {}, http: [], close: () => control?.close() },
    ],
  });
});
