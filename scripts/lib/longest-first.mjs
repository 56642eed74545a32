// @ts-check
import { basename } from 'node:path';
import { BaseSequencer } from 'vitest/node';

/**
 * The story tests that take longest, in their order. On a fresh clone vitest knows only how large files are, and one of two
 * minutes that begins last has the machine for itself.
 */
export const longest = [
  'events-kills',
  'production',
  'events-apart',
  'failures-redis-loss',
  'failures-limits',
  'sdks',
  'coalescing',
  'start',
  'failures-publish',
  'fresh-tokens',
  'hostile-clients',
  'accounts',
  'failures-stream',
  'stream-replicas',
  'failures-redis',
  'page',
].map((name) => `${name}.test.ts`);

/**
 * Those that are named first, the others after them as they were.
 * @template T
 * @param {readonly T[]} files
 * @param {(file: T) => string} pathOf
 */
export function longestFirst(files, pathOf) {
  /** @param {T} file */
  const place = (file) => {
    const at = longest.indexOf(basename(pathOf(file)));
    return at === -1 ? longest.length : at;
  };
  return files.toSorted((a, b) => place(a) - place(b));
}

export class LongestFirst extends BaseSequencer {
  /**
   * @override
   * @type {BaseSequencer['sort']}
   */
  async sort(files) {
    return longestFirst(await super.sort(files), (file) => file.moduleId);
  }
}
