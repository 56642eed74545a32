import { openBroker } from '#lib/broker/open-broker.ts';
import { openConfigCache } from '#lib/config-cache/open-config-cache.ts';
import { apiTokensOf, callersOf, startersOf } from '#lib/server/callers.ts';
import { Env } from '#lib/server/env.ts';
import { Gate } from '#lib/server/gate.ts';
import { runMain } from '#lib/server/run-main.ts';
import { runService } from '#lib/server/run-service.ts';
import {
  commonSettings,
  dataDir,
  developmentKeys,
  operatorToken,
  publishTokens,
  startToken,
  storeSettings,
  streamTokens,
} from '#lib/server/settings.ts';
import { openDatabase } from '#lib/store/open-store.ts';
import { createStore } from '#lib/store/sql-store.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { cleanupService } from '../cleanup/cleanup.ts';
import { cleanupSettings } from '../cleanup/settings.ts';
import { configService } from '../config/routes.ts';
import { configSettings } from '../config/settings.ts';
import { accountSettings } from '../control/account-settings.ts';
import { accountParts } from '../control/accounts.ts';
import { announceRegion } from '../control/region.ts';
import { controlService } from '../control/routes.ts';
import { controlSettings } from '../control/settings.ts';
import { publishService } from '../publish/routes.ts';
import { publishSettings } from '../publish/settings.ts';
import { streamService } from '../stream/routes.ts';
import { streamSettings } from '../stream/settings.ts';
import { writeDevelopmentFile } from './development-file.ts';
import { developmentPage } from './development-page.ts';
import { firstStart } from './first-start.ts';

await runMain('tideway', async () => {
  const env = new Env(process.env);
  const common = commonSettings(env);
  const logger = createLogger('monolith', common.logLevel);
  const onError = (error: unknown) => logger.error({ err: error }, 'config lookup met something unexpected');
  const warn = (error: Error) => logger.warn({ err: error });
  const development = await developmentKeys(env);
  const publish = await publishTokens(env, development, warn);
  const stream = await streamTokens(env, development, warn);
  const operator = operatorToken(env, development);
  const start = startToken(env);
  const control = controlSettings(env);
  const config = configSettings(env, development);
  const account = accountSettings(env);
  const settings = streamSettings(env);
  const port = env.port('PORT', 9000);
  const database = await openDatabase(storeSettings(env));
  const store = createStore(database);
  await announceRegion(store, control.defaultRegion, control.publicUrl);
  const apiTokens = apiTokensOf(store);
  const accounts = accountParts(database, store, account);
  const broker = openBroker(common.broker);
  const gate = new Gate({
    publishTokens: publish.verifier,
    streamTokens: stream.verifier,
    callers: [...callersOf(operator, apiTokens), accounts.callers],
    starters: common.isProduction ? [...startersOf(start, apiTokens), accounts.callers] : 'anybody',
  });
  const cache = openConfigCache({ store, redis: common.broker, onError, ...config.cache });
  const parts = [
    publishService({ gate, broker, ...publishSettings(env) }),
    streamService({ gate, broker, logger, signer: stream.signer, ...settings }),
    cleanupService({ broker, logger, ...cleanupSettings(env) }),
    controlService({ gate, store, now: Date.now, ...control }),
    configService({ gate, cache, relays: config.relays }),
    accounts.service(gate),
  ];
  if (development !== undefined) {
    const edgeUrl = settings.publicUrl ?? 'http://localhost:8080';
    const first = await firstStart(store, { edgeUrl, dataDir: dataDir(env), region: control.defaultRegion });
    const publishToken = await publish.signer?.sign({ subject: 'development' });
    const file = await writeDevelopmentFile(dataDir(env), {
      edge_url: edgeUrl,
      publish_token: publishToken,
      operator_token: operator,
      ...first,
    });
    parts.push(developmentPage(file));
  }
  return runService({
    ...common,
    port,
    broker,
    store,
    logger,
    reflection: !common.isProduction,
    parts,
  });
});
