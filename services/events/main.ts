import { createMemoryThrottle } from '#lib/accounts/memory-throttle.ts';
import { createSessionCallers } from '#lib/accounts/session-callers.ts';
import { sessionCookie } from '#lib/accounts/session-cookie.ts';
import { createAccounts } from '#lib/accounts/sql-accounts.ts';
import { openEventStore } from '#lib/event-store/open-event-store.ts';
import { apiTokensOf, callersOf } from '#lib/server/callers.ts';
import { Env } from '#lib/server/env.ts';
import { Gate } from '#lib/server/gate.ts';
import { eventStoreNeed } from '#lib/server/needs.ts';
import { runMain } from '#lib/server/run-main.ts';
import { runService } from '#lib/server/run-service.ts';
import {
  commonSettings,
  developmentKeys,
  operatorToken,
  publicUrl,
  sessionLimits,
  storeSettings,
} from '#lib/server/settings.ts';
import { openDatabase } from '#lib/store/open-store.ts';
import { createStore } from '#lib/store/sql-store.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { eventsService } from './routes.ts';

await runMain('events', async () => {
  const env = new Env(process.env);
  const common = commonSettings(env);
  const logger = createLogger('events', common.logLevel);
  const operator = operatorToken(env, await developmentKeys(env));
  const port = env.port('EVENTS_PORT', 9008);
  const url = publicUrl(env);
  const database = await openDatabase(storeSettings(env));
  const store = createStore(database);
  const events = await openEventStore({ ...storeSettings(env), readOnly: true });
  // Nobody signs in here: sessions are only looked up.
  const accounts = createAccounts(database, {
    signUp: 'closed',
    throttle: createMemoryThrottle(),
    sessionLimits: sessionLimits(env),
  });
  const sessions = createSessionCallers({
    accounts,
    members: store.members,
    cookie: sessionCookie({ secure: env.isProduction }),
    publicOrigin: url === undefined ? undefined : new URL(url).origin,
  });
  const gate = new Gate({ callers: [...callersOf(operator, apiTokensOf(store)), sessions] });
  return runService({
    ...common,
    broker: undefined,
    port,
    store,
    needs: [eventStoreNeed(events)],
    logger,
    reflection: !common.isProduction,
    parts: [
      eventsService({ gate, store, events, now: Date.now }),
      { services: [], rpc() {}, http: [], close: () => accounts.close() },
    ],
  });
});
