// @ts-check
import { createServer } from 'node:net';
import { Failure } from './failure.mjs';

/**
 * A port from the environment.
 * @param {NodeJS.ProcessEnv} env
 * @param {string} name
 * @param {number} fallback
 */
export function portFrom(env, name, fallback) {
  const text = env[name];
  if (text === undefined || text === '') return fallback;
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port < 1 || port > 65_535) {
    throw new Failure(`${name} must be a port, a whole number from 1 to 65535`);
  }
  return port;
}

/**
 * Fails if another program has the port. Envoy itself would share it with another Envoy, and half of the requests would
 * go astray.
 * @param {string} name The setting that chooses it.
 * @param {string} host
 * @param {number} port
 */
export function requireFreePort(name, host, port) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (/** @type {NodeJS.ErrnoException} */ error) => {
      reject(new Failure(`port ${port} on ${host} ${whyNot(error)}: set ${name} to another one`));
    });
    server.listen({ host, port, exclusive: true }, () => server.close(resolve));
  });
}

/** @param {NodeJS.ErrnoException} error */
function whyNot(error) {
  if (error.code === 'EADDRINUSE') return 'is taken by another program';
  if (error.code === 'EACCES') return 'is not for this user';
  return `can not be used (${error.code})`;
}
