import { realpathSync } from 'node:fs';
import { BroadcastChannel } from 'node:worker_threads';

/** By which the threads of a process hear that the log in this folder has grown; other processes that write are not heard. */
export function changesName(dataDir: string): string {
  return `tideway log ${realpathSync(dataDir)}`;
}

/** Who listens need not ask SQLite a hundred times a second. */
export function openChanges(name: string): BroadcastChannel {
  const changes = new BroadcastChannel(name);
  // Nobody stays alive for it.
  changes.unref();
  return changes;
}
