import { realpathSync } from 'node:fs';
import { BroadcastChannel } from 'node:worker_threads';

/**
 * Between the threads of a process: the log in this folder has grown. Who listens to it need not ask SQLite a hundred times a
 * second; other processes that write to the file are not heard.
 */
export function openChanges(dataDir: string): BroadcastChannel {
  const changes = new BroadcastChannel(`tideway log ${realpathSync(dataDir)}`);
  // Nobody stays alive for it.
  changes.unref();
  return changes;
}
