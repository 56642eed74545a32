/** Where REDIS_URL says that Redis is. */
export type RedisTarget = (
  | { readonly kind: 'single'; readonly address: RedisAddress; readonly db: number }
  | { readonly kind: 'cluster'; readonly seeds: readonly RedisAddress[] }
  | {
      readonly kind: 'sentinel';
      readonly sentinels: readonly RedisAddress[];
      readonly master: string;
      readonly db: number;
    }
) & { readonly tls: boolean; readonly username: string | undefined; readonly password: string | undefined };

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
}

/** One line that says what is wrong with REDIS_URL, without the user and password in it. */
export class InvalidRedisUrlError extends Error {
  override readonly name = 'InvalidRedisUrlError';

  constructor(problem: string) {
    super(`invalid Redis URL: ${problem}`);
  }
}

const FORM = /^(rediss?)(\+cluster|\+sentinel)?:\/\/([^/?#]*)(?:\/([^?#]*))?([?#].*)?$/i;
const REPEATED_SCHEME = /,\s*rediss?(?:\+cluster|\+sentinel)?:\/\//gi;
const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;

/**
 * Reads the forms that Redis users expect: `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, several
 * hosts with commas or `redis+cluster://…` for the seeds of a Cluster, and `redis+sentinel://host[:port],…/<master>[/db]`.
 * A single host may turn out to be a Cluster's node; that is found out when it answers.
 * @throws InvalidRedisUrlError
 */
export function parseRedisUrl(url: string): RedisTarget {
  const match = FORM.exec(url.trim().replace(REPEATED_SCHEME, ','));
  if (!match) throw new InvalidRedisUrlError('it should look like redis://host:6379');
  const [, scheme = '', form = '', authority = '', path = '', rest = ''] = match;
  if (rest.length > 1) throw new InvalidRedisUrlError('nothing may follow the path (no ? and no #)');
  const sentinel = form.toLowerCase() === '+sentinel';
  const hosts = authority.split(',').map((part) => part.trim());
  const addresses = hosts.map((part) => readAddress(part.slice(part.lastIndexOf('@') + 1), sentinel));
  const common = { tls: scheme.toLowerCase() === 'rediss', ...readCredentials(hosts) };
  const segments = path.split('/').filter((segment) => segment !== '');

  if (sentinel) {
    const [master, db, ...more] = segments;
    if (master === undefined || more.length > 0) {
      throw new InvalidRedisUrlError(
        'a Sentinel URL ends with the name of the master: redis+sentinel://host:26379/mymaster',
      );
    }
    return { kind: 'sentinel', sentinels: addresses, master: decode(master), db: readDb(db), ...common };
  }
  const [db, ...more] = segments;
  if (more.length > 0) throw new InvalidRedisUrlError('the path is the number of a database');
  const [address] = addresses;
  if (address && addresses.length === 1 && form === '') return { kind: 'single', address, db: readDb(db), ...common };
  if (readDb(db) !== 0) throw new InvalidRedisUrlError('a Cluster has database 0 alone');
  return { kind: 'cluster', seeds: addresses, ...common };
}

function readAddress(text: string, sentinel: boolean): RedisAddress {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/i.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? (sentinel ? SENTINEL_PORT : REDIS_PORT) : Number(match[3]);
  // The text itself stays out of the message: with a stray @ or / it could be a piece of the password.
  if (host === undefined) throw new InvalidRedisUrlError('a host is missing or has characters that need %-encoding');
  if (port < 1 || port > 65_535) throw new InvalidRedisUrlError('a port must be from 1 to 65535');
  return { host, port };
}

function readCredentials(hosts: readonly string[]): { username: string | undefined; password: string | undefined } {
  const given = hosts.find((part) => part.includes('@'));
  if (given === undefined) return { username: undefined, password: undefined };
  const text = given.slice(0, given.lastIndexOf('@'));
  const colon = text.indexOf(':');
  const username = decode(colon < 0 ? text : text.slice(0, colon));
  const password = colon < 0 ? '' : decode(text.slice(colon + 1));
  return { username: username === '' ? undefined : username, password: password === '' ? undefined : password };
}

function readDb(text: string | undefined): number {
  if (text === undefined) return 0;
  if (!/^\d{1,5}$/.test(text)) throw new InvalidRedisUrlError('the database must be a number');
  return Number(text);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new InvalidRedisUrlError('it has a wrong %-encoding');
  }
}
