import type { Log } from './log.ts';
import { openSqliteLog, type SqliteLogOptions } from './sqlite-log.ts';

export type OpenLogOptions = SqliteLogOptions;

/** The log that a deployment has. @throws LogUnavailableError */
export function openLog(options: OpenLogOptions): Log {
  return openSqliteLog(options);
}
