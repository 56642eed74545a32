import { type Argon2Parameters, argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

/** What a hash costs: what OWASP asks of argon2id at least. */
export interface HashCost {
  readonly memoryKiB: number;
  readonly passes: number;
  readonly lanes: number;
}

export const HASH_COST: HashCost = { memoryKiB: 19_456, passes: 2, lanes: 1 };

const SALT_BYTES = 16;
const HASH_BYTES = 32;
const VERSION = 0x13;
const FORM =
  /^\$argon2id\$v=(?<v>\d+)\$m=(?<m>\d{1,7}),t=(?<t>\d{1,2}),p=(?<p>\d{1,2})\$(?<salt>[A-Za-z0-9+/]{11,86})\$(?<hash>[A-Za-z0-9+/]{22,86})$/;

const derive = promisify<'argon2id', Argon2Parameters, Buffer>(argon2);

/** In the form that other programs know: `$argon2id$v=19$m=…,t=…,p=…$salt$hash`. */
export async function hashPassword(password: string, cost: HashCost = HASH_COST): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await argon2id(password, salt, HASH_BYTES, cost);
  const { memoryKiB, passes, lanes } = cost;
  return `$argon2id$v=${VERSION}$m=${memoryKiB},t=${passes},p=${lanes}$${base64(salt)}$${base64(hash)}`;
}

/** @throws Error where `encoded` is not a hash of this kind */
export async function verifyPassword(password: string, encoded: string): Promise<boolean> {
  const { salt, hash, cost } = parse(encoded);
  return timingSafeEqual(await argon2id(password, salt, hash.byteLength, cost), hash);
}

/** Whether it was made at another cost than is asked today. */
export function isOutdated(encoded: string, cost: HashCost = HASH_COST): boolean {
  const found = parse(encoded).cost;
  return found.memoryKiB !== cost.memoryKiB || found.passes !== cost.passes || found.lanes !== cost.lanes;
}

function parse(encoded: string): { salt: Buffer; hash: Buffer; cost: HashCost } {
  const groups = FORM.exec(encoded)?.groups;
  if (groups === undefined || Number(groups['v']) !== VERSION) throw new Error('this is no argon2id hash');
  return {
    salt: Buffer.from(groups['salt'] ?? '', 'base64'),
    hash: Buffer.from(groups['hash'] ?? '', 'base64'),
    cost: { memoryKiB: Number(groups['m']), passes: Number(groups['t']), lanes: Number(groups['p']) },
  };
}

function argon2id(password: string, nonce: Buffer, tagLength: number, cost: HashCost): Promise<Buffer> {
  const { memoryKiB: memory, passes, lanes: parallelism } = cost;
  // Keyboards differ in how they write the same letter.
  const message = password.normalize('NFKC');
  return derive('argon2id', { message, nonce, tagLength, memory, passes, parallelism });
}

function base64(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '');
}
