import { type KafkaLogOptions, openKafkaLog } from './kafka-log.ts';
import type { Log } from './log.ts';
import { openSqliteLog, type SqliteLogOptions } from './sqlite-log.ts';

export type OpenLogOptions =
  | (SqliteLogOptions & { readonly kafka?: undefined })
  | (KafkaLogOptions & { readonly dataDir?: string | undefined });

/** The log that a deployment has: Kafka where it names some, else a file of its own. @throws LogUnavailableError */
export function openLog(options: OpenLogOptions): Log {
  return options.kafka === undefined ? openSqliteLog(options) : openKafkaLog(options);
}
