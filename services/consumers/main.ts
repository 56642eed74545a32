import { openBroker } from '#lib/broker/open-broker.ts';
import { openEventStore } from '#lib/event-store/open-event-store.ts';
import { openLog } from '#lib/log/open-log.ts';
import { Env } from '#lib/server/env.ts';
import { eventStoreNeed, logNeed } from '#lib/server/needs.ts';
import { runMain } from '#lib/server/run-main.ts';
import { runService } from '#lib/server/run-service.ts';
import { commonSettings, sharedBroker } from '#lib/server/settings.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { createBrokerLivePublisher } from './broker-live-publisher.ts';
import { consumersService } from './consumers.ts';
import { reportTo } from './reports.ts';
import { apartSettings } from './settings.ts';

await runMain('consumers', async () => {
  const env = new Env(process.env);
  const common = commonSettings(env);
  const logger = createLogger('consumers', common.logLevel);
  const settings = apartSettings(env);
  const port = env.port('CONSUMERS_PORT', 9007);
  const redis = sharedBroker(env, common);
  const store = await openEventStore(settings.store);
  const log = await openLog(settings.log);
  const broker = openBroker(redis);
  const reports = reportTo(logger);
  const live = createBrokerLivePublisher({ broker, reports });
  return runService({
    ...common,
    // Live is a courtesy: health does not depend on it.
    broker: undefined,
    port,
    needs: [eventStoreNeed(store), logNeed(log)],
    logger,
    reflection: !common.isProduction,
    parts: [
      consumersService({ log, store, live, reports, now: Date.now }),
      { services: [], rpc() {}, http: [], close: () => void broker.close() },
    ],
  });
});
