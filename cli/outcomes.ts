import { existsSync } from 'node:fs';
import process from 'node:process';
import { openEventStore } from '#lib/event-store/open-event-store.ts';
import { type Log, LogFullError, LogUnavailableError } from '#lib/log/log.ts';
import { openLog } from '#lib/log/open-log.ts';
import { logFile } from '#lib/log/sqlite-log-file.ts';
import { ConfigError, Env } from '#lib/server/env.ts';
import { logSettings } from '#lib/server/log-settings.ts';
import { storeSettings } from '#lib/server/settings.ts';
import { SchemaTooNewError, StoreUnavailableError, UnusableFileError } from '#lib/sql/database-errors.ts';
import { InvalidDatabaseUrlError } from '#lib/sql/postgres-url.ts';
import { auditOutcomes, isBalanced } from './outcomes/audit.ts';
import { listDeadLetters, ReplayStuckError, replayDeadLetters } from './outcomes/dead-letters.ts';
import { OUTCOMES_HELP, type OutcomesCommand, parseOutcomesCommand } from './outcomes/options.ts';
import { auditJson, renderAudit } from './outcomes/render.ts';
import { Output, printable } from './output.ts';
import { say } from './session.ts';
import { EXIT } from './usage.ts';

const NOT_BALANCED = 1;
const NOT_YET = 2;
/** Whose words say what to do. */
const REFUSED = [ConfigError, InvalidDatabaseUrlError, SchemaTooNewError, UnusableFileError];
const AWAY = [StoreUnavailableError, LogUnavailableError, LogFullError, ReplayStuckError];

// `npm run outcomes:audit` and `dead-letters:replay`. Like every main, this file reads the environment and wires.
const stdout = new Output(process.stdout);
const stderr = new Output(process.stderr);
process.exit(await main(parseOutcomesCommand(process.argv.slice(2)), new Env(process.env)));

async function main(command: OutcomesCommand, env: Env): Promise<number> {
  if (command.kind === 'help') return say(stdout, OUTCOMES_HELP, EXIT.ok);
  if (command.kind === 'wrong') return say(stderr, `${command.why} --help tells more.`, EXIT.usage);
  try {
    const settings = logSettings(env);
    const missing = settings.kafka === undefined && !existsSync(logFile(settings.dataDir));
    // Opened, it would be made, and found in order.
    if (missing) return say(stderr, `There is no log in ${settings.dataDir} (TIDEWAY_DATA_DIR).`, EXIT.away);
    const log = await openLog(settings);
    try {
      return await run(command, log, env);
    } finally {
      await log.close();
    }
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    if (REFUSED.some((kind) => error instanceof kind)) return say(stderr, error.message, EXIT.refused);
    if (AWAY.some((kind) => error instanceof kind)) return say(stderr, error.message, EXIT.away);
    throw error;
  }
}

async function run(command: Exclude<OutcomesCommand, { why: string } | { kind: 'help' }>, log: Log, env: Env) {
  switch (command.kind) {
    case 'audit':
      return audit(log, env, command.json);
    case 'list': {
      let listed = 0;
      for await (const { topic, partition, offset, timestampMs, reason, valueBytes } of listDeadLetters(
        log,
        command.topics,
      )) {
        const when = new Date(timestampMs).toISOString();
        const line = `${when}  ${topic}  partition ${partition}  offset ${offset}  ${valueBytes} bytes  ${reason}`;
        if (!(await stdout.write(`${printable(line)}\n`))) break;
        listed++;
      }
      if (listed === 0) return say(stdout, 'There are no dead letters.', EXIT.ok);
      return EXIT.ok;
    }
    case 'replay': {
      const { appended, skipped, left } = await replayDeadLetters({ ...command, log });
      const aside = skipped > 0 ? ` ${skipped} are not whole, and stay.` : '';
      return say(stdout, `${appended} dead letters appended again.${aside} ${left} are left.`, EXIT.ok);
    }
  }
}

async function audit(log: Log, env: Env, json: boolean): Promise<number> {
  const store = await openEventStore({ ...storeSettings(env), readOnly: true });
  try {
    const result = await auditOutcomes({ log, store, now: Date.now });
    await stdout.write(`${json ? auditJson(result) : renderAudit(result)}\n`);
    if (result.kind === 'not_yet') return result.lost > 0n ? NOT_BALANCED : NOT_YET;
    return isBalanced(result) ? EXIT.ok : NOT_BALANCED;
  } finally {
    await store.close();
  }
}
