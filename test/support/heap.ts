import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
/** For tests of memory, which have a process of their own (`*.heap.test.ts`). */
export const collectGarbage = runInNewContext('gc') as () => void;

/** What is held, in the heap and outside of it. */
export function usedBytes(): number {
  // What the first round lets go of outside of the heap is counted until the second.
  collectGarbage();
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
