// @ts-check
import { Failure } from './failure.mjs';

const OLDEST_NODE = 20;

/** Says what is missing before anything is installed. */
export function requireMachine({ version = process.versions.node, platform = process.platform } = {}) {
  if (Number.parseInt(version, 10) < OLDEST_NODE) {
    throw new Failure(`Node ${OLDEST_NODE} or newer is needed, and this is ${version}: install it from nodejs.org`);
  }
  if (platform === 'win32') throw new Failure('Tideway runs on Linux and macOS: on Windows, use WSL');
}
