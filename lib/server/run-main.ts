import { inspect } from 'node:util';
import { KeySettingError } from '#lib/auth/key-pem.ts';
import { InvalidRedisUrlError } from '#lib/broker/redis-url.ts';
import { LogUnavailableError } from '#lib/log/log.ts';
import { SchemaTooNewError, StoreUnavailableError, UnusableFileError } from '#lib/sql/database-errors.ts';
import { InvalidDatabaseUrlError } from '#lib/sql/postgres-url.ts';
import { ConfigError } from './env.ts';
import { CantListenError, PortTakenError } from './listen.ts';
import type { RunningService } from './run-service.ts';

/** What whoever starts it can mend, and whose message says how. */
const EXPECTED = [
  ConfigError,
  KeySettingError,
  InvalidDatabaseUrlError,
  InvalidRedisUrlError,
  PortTakenError,
  CantListenError,
  SchemaTooNewError,
  StoreUnavailableError,
  LogUnavailableError,
  UnusableFileError,
];

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return inspect(error);
  // What a database that can't be reached said: which address, and why.
  const isAway = error instanceof StoreUnavailableError || error instanceof LogUnavailableError;
  if (isAway && error.cause instanceof Error && error.cause.message !== '') {
    return `${error.message}: ${error.cause.message}`;
  }
  // A folder that can't be written to, a full disk: the system's own words name the path.
  const isOfTheSystem = 'syscall' in error && 'path' in error;
  return isOfTheSystem || EXPECTED.some((kind) => error instanceof kind) ? error.message : inspect(error);
}

/**
 * Runs a service as a process: one clear line and exit code 1 where it can't start, a drain on SIGTERM and SIGINT, and
 * an end at once on the second signal.
 */
export async function runMain(name: string, start: () => Promise<RunningService>): Promise<void> {
  let running: RunningService;
  try {
    running = await start();
  } catch (error) {
    process.stderr.write(`${name}: ${reasonOf(error)}\n`);
    process.exit(1);
  }
  let signals = 0;
  const onSignal = () => {
    signals++;
    if (signals > 1) process.exit(1);
    running.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`${name}: ${String(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}
