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
      reject(new Failure(explain(error.code, name, host, port)));
    });
    server.listen({ host, port, exclusive: true }, () => server.close(resolve));
  });
}

/**
 * @param {string | undefined} code
 * @param {string} name
 * @param {string} host
 * @param {number} port
 */
function explain(code, name, host, port) {
  if (code === 'EADDRINUSE') return `port ${port} on ${host} is taken by another program: set ${name} to another one`;
  if (code === 'EACCES') return `port ${port} is not for this user: set ${name} to one above 1023`;
  return `${host} is not an address of this machine (${code})`;
}
