// @ts-check
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's root folder. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** The programs that npm installed. Their Node is the one that runs TypeScript. */
export const programs = join(root, 'node_modules', '.bin');

export const node = join(programs, 'node');

/**
 * The environment with the project's programs first, as inside an npm script.
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
export function withPrograms(env) {
  return { ...env, PATH: `${programs}${delimiter}${env['PATH'] ?? ''}` };
}
