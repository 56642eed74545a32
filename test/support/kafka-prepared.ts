import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { installWhole } from '../../scripts/lib/install-whole.mjs';
import { kafkaFolder, kafkaInstalled } from '../../scripts/lib/kafka.mjs';
import { runCommand } from '../../scripts/lib/run-command.mjs';
import { startKafka } from './kafka.ts';
import { CLASSES, FORMATTED, PREPARED } from './kafka-java.ts';

/**
 * For a whole test run: what every Kafka would do anew at its start is done once for a version of it and of Java. Its
 * storage is formatted, and its classes are read, checked and laid out as they are in memory, which is half of what a
 * start costs.
 */
export async function setup(): Promise<void> {
  if (!kafkaInstalled()) return;
  const java = createHash('sha256').update((await runCommand('java', ['-version'])).output);
  const folder = `${kafkaFolder}-${java.digest('hex').slice(0, 12)}`;
  if (!existsSync(folder)) await installWhole(folder, prepare);
  process.env[PREPARED] = folder;
}

async function prepare(folder: string): Promise<void> {
  await using kafka = await startKafka({
    copyFormattedTo: join(folder, FORMATTED),
    java: [`-XX:ArchiveClassesAtExit=${join(folder, CLASSES)}`],
  });
  await kafka.stopInOrder();
}
