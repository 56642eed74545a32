import { randomBytes } from 'node:crypto';
import { createRouterTransport } from '@connectrpc/connect';
import { openBroker } from '#lib/broker/open-broker.ts';
import { openConfigCache } from '#lib/config-cache/open-config-cache.ts';
import { openEventStore } from '#lib/event-store/open-event-store.ts';
import { openLog } from '#lib/log/open-log.ts';
import { apiTokensOf, callersOf, startersOf } from '#lib/server/callers.ts';
import { Env } from '#lib/server/env.ts';
import { Gate } from '#lib/server/gate.ts';
import { logSettings } from '#lib/server/log-settings.ts';
import { eventStoreNeed, logNeed } from '#lib/server/needs.ts';
import { refusalInterceptor } from '#lib/server/rpc.ts';
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
import { createBrokerLivePublisher } from '../consumers/broker-live-publisher.ts';
import { reportTo } from '../consumers/reports.ts';
import { consumersSettings } from '../consumers/settings.ts';
import { startConsumersThread } from '../consumers/thread.ts';
import { accountSettings } from '../control/account-settings.ts';
import { accountParts } from '../control/accounts.ts';
import { announceRegion } from '../control/region.ts';
import { controlService } from '../control/routes.ts';
import { controlSettings } from '../control/settings.ts';
import { eventsService } from '../events/routes.ts';
import { publishService } from '../publish/routes.ts';
import { publishSettings } from '../publish/settings.ts';
import { relayService } from '../relay/relay.ts';
import { createRpcConfigSource } from '../relay/rpc-config-source.ts';
import { relaySettings } from '../relay/settings.ts';
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
  const warn = (error: unknown) => logger.warn({ err: error });
  const development = await developmentKeys(env);
  const publish = await publishTokens(env, development, warn);
  const stream = await streamTokens(env, development, warn);
  const operator = operatorToken(env, development);
  const start = startToken(env);
  const control = controlSettings(env);
  const config = configSettings(env, development);
  const account = accountSettings(env);
  const settings = streamSettings(env);
  const relay = relaySettings(env, development);
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
  const log = await openLog(logSettings(env));
  const events = await openEventStore({ ...storeSettings(env), readOnly: true });
  const reports = reportTo(logger);
  const live = createBrokerLivePublisher({ broker, reports });
  // The relay here needs no token of the settings: those are for relays elsewhere.
  const ownToken = randomBytes(32).toString('base64url');
  const tokens = [...config.relays.tokens, { secret: ownToken, isTrusted: true }];
  const configs = configService({ gate, cache, relays: { ...config.relays, tokens } });
  // The relay asks for configs as one elsewhere does, without the way over a port.
  const transport = createRouterTransport((router) => configs.rpc(router, onError), {
    router: { interceptors: [refusalInterceptor(onError)] },
  });
  const source = createRpcConfigSource({ transport, token: ownToken, onError: warn });
  const parts = [
    publishService({ gate, broker, logger, ...publishSettings(env) }),
    streamService({ gate, broker, logger, signer: stream.signer, ...settings }),
    cleanupService({ broker, logger, ...cleanupSettings(env) }),
    controlService({ gate, store, now: Date.now, ...control }),
    configs,
    relayService({ gate, log, source, redis: common.broker, settings: relay, logger }),
    startConsumersThread({ ...consumersSettings(env), live, reports }),
    eventsService({ gate, store, events, now: Date.now }),
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
    parts.push(developmentPage(file, env.text('TIDEWAY_DATA_DIR')));
  }
  return runService({
    ...common,
    port,
    broker,
    store,
    needs: [logNeed(log), eventStoreNeed(events)],
    logger,
    reflection: !common.isProduction,
    parts,
  });
});
