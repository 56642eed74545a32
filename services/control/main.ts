import { apiTokensOf, callersOf } from '#lib/server/callers.ts';
import { Env } from '#lib/server/env.ts';
import { Gate } from '#lib/server/gate.ts';
import { runMain } from '#lib/server/run-main.ts';
import { runService } from '#lib/server/run-service.ts';
import { commonSettings, developmentKeys, operatorToken, storeSettings } from '#lib/server/settings.ts';
import { openDatabase } from '#lib/store/open-store.ts';
import { createStore } from '#lib/store/sql-store.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { accountSettings } from './account-settings.ts';
import { accountParts } from './accounts.ts';
import { announceRegion } from './region.ts';
import { controlService } from './routes.ts';
import { controlSettings } from './settings.ts';
import { tokenService } from './verify-token.ts';

await runMain('control', async () => {
  const env = new Env(process.env);
  const common = commonSettings(env);
  const logger = createLogger('control', common.logLevel);
  const operator = operatorToken(env, await developmentKeys(env));
  const settings = controlSettings(env);
  const account = accountSettings(env);
  const port = env.port('CONTROL_PORT', 9004);
  const database = await openDatabase(storeSettings(env));
  const store = createStore(database);
  await announceRegion(store, settings.defaultRegion, settings.publicUrl);
  const apiTokens = apiTokensOf(store);
  const accounts = accountParts(database, store, account);
  const gate = new Gate({ callers: [...callersOf(operator, apiTokens), accounts.callers] });
  return runService({
    ...common,
    broker: undefined,
    port,
    store,
    logger,
    reflection: !common.isProduction,
    parts: [
      controlService({ gate, store, now: Date.now, ...settings }),
      tokenService(gate, apiTokens),
      accounts.service(gate),
    ],
  });
});
