import type { KafkaLogOptions } from './kafka-log.ts';
import type { Log } from './log.ts';
import { openSqliteLog, type SqliteLogOptions } from './sqlite-log.ts';

export type OpenLogOptions =
  | (SqliteLogOptions & { readonly kafka?: undefined })
  | (KafkaLogOptions & { readonly dataDir?: string | undefined });

/** The log that a deployment has: Kafka where it names some, else a file of its own. @throws LogUnavailableError @throws UnusableFileError */
export async function openLog(options: OpenLogOptions): Promise<Log> {
  if (options.kafka === undefined) return openSqliteLog(options);
  // Half of all modules of a process are this client's, on each thread that loads it.
  const { openKafkaLog } = await import('./kafka-log.ts');
  return openKafkaLog(options);
}
