import { MAX_RETRY_PAUSE_MS } from './log.ts';

const FIRST_PAUSE_MS = 50;

/** How long to wait after so many failures in a row. */
export function retryPauseMs(failures: number): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), MAX_RETRY_PAUSE_MS);
}
