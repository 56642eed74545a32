import { openBroker } from '#lib/broker/open-broker.ts';
import { Env } from '#lib/server/env.ts';
import { Gate } from '#lib/server/gate.ts';
import { runMain } from '#lib/server/run-main.ts';
import { runService } from '#lib/server/run-service.ts';
import {
  apiToken,
  commonSettings,
  dataDir,
  developmentKeys,
  publishTokens,
  streamTokens,
} from '#lib/server/settings.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { cleanupService } from '../cleanup/cleanup.ts';
import { cleanupSettings } from '../cleanup/settings.ts';
import { publishService } from '../publish/routes.ts';
import { publishSettings } from '../publish/settings.ts';
import { streamService } from '../stream/routes.ts';
import { streamSettings } from '../stream/settings.ts';
import { writeDevelopmentFile } from './development-file.ts';
import { developmentPage } from './development-page.ts';

await runMain('tideway', async () => {
  const env = new Env(process.env);
  const common = commonSettings(env);
  const logger = createLogger('monolith', common.logLevel);
  const warn = (error: Error) => logger.warn({ err: error });
  const development = await developmentKeys(env);
  const publish = await publishTokens(env, development, warn);
  const stream = await streamTokens(env, development, warn);
  const token = apiToken(env, development);
  const broker = openBroker(common.broker);
  const gate = new Gate({
    publishTokens: publish.verifier,
    streamTokens: stream.verifier,
    apiToken: token,
    openStart: !common.isProduction,
  });
  const settings = streamSettings(env);
  const parts = [
    publishService({ gate, broker, ...publishSettings(env) }),
    streamService({ gate, broker, logger, signer: stream.signer, ...settings }),
    cleanupService({ broker, logger, ...cleanupSettings(env) }),
  ];
  if (development !== undefined) {
    const file = await writeDevelopmentFile(dataDir(env), {
      edgeUrl: settings.publicUrl ?? 'http://localhost:8080',
      publishSigner: publish.signer,
      apiToken: token,
    });
    parts.push(developmentPage(file));
  }
  return runService({
    ...common,
    port: env.port('PORT', 9000),
    broker,
    logger,
    reflection: !common.isProduction,
    parts,
  });
});
