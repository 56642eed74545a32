import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { kafkaFolder } from '../../scripts/lib/kafka.mjs';
import { watch } from './watchdog.ts';

/** The environment variable that says where kafka-prepared.ts has put what follows. */
export const PREPARED = 'TIDEWAY_TEST_KAFKA';
/** Kafka's classes as a JVM has them in memory. */
export const CLASSES = 'classes.jsa';
/** A storage that is formatted, and was never used. */
export const FORMATTED = 'formatted';

// Short lives: code that takes long to compile well is not worth it.
const JVM = ['-Xmx384m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];

/** A formatted storage to copy, where there is one. */
export function preparedData(): string | undefined {
  return prepared(FORMATTED);
}

/** A JVM that ends with this process, and its output in the folder. */
export function spawnJava(folder: string, args: readonly string[]): ChildProcess {
  const classes = prepared(CLASSES);
  const shared = classes === undefined ? [] : [`-XX:SharedArchiveFile=${classes}`];
  const all = [...JVM, ...shared, '-cp', join(kafkaFolder, '*'), ...args];
  const child = spawn('java', all, { stdio: ['ignore', 'pipe', 'pipe'] });
  const log = createWriteStream(logFile(folder), { flags: 'a' });
  log.on('error', () => undefined);
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  child.once('error', (error) => log.write(`java: ${error.message}`));
  watch(child, folder);
  child.once('close', () => log.end());
  return child;
}

export async function lastWords(folder: string): Promise<string> {
  const words = await readFile(logFile(folder), 'utf8').catch(() => '');
  return words.slice(-2000) || 'it said nothing';
}

function logFile(folder: string): string {
  return join(folder, 'output.log');
}

function prepared(name: string): string | undefined {
  const folder = process.env[PREPARED];
  if (folder === undefined) return undefined;
  const path = join(folder, name);
  return existsSync(path) ? path : undefined;
}
