// @ts-check
import { readFileSync } from 'node:fs';

const ANSWER_DEADLINE_MS = 2_000;

/**
 * The address of a development server that runs, and has written this dev.json: the one that is started now will write it
 * anew, and the command line then goes there.
 * @param {string} devFile
 * @returns {Promise<string | undefined>}
 */
export async function anotherWith(devFile) {
  try {
    const { edge_url: url, publish_token: token } = JSON.parse(readFileSync(devFile, 'utf8'));
    const answer = await fetch(`${url}/console/dev.json`, { signal: AbortSignal.timeout(ANSWER_DEADLINE_MS) });
    const its = /** @type {{ publish_token?: unknown }} */ (await answer.json());
    return token !== undefined && its.publish_token === token ? url : undefined;
  } catch {
    // No such file, nobody there, or somebody else.
    return undefined;
  }
}
