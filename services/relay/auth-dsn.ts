import { readPublicKey } from './auth.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import { isProjectId } from './http-path.ts';

/** What an envelope's DSN names: `scheme://publicKey[:secret]@host[:port]/[path/]projectId`. */
export interface Dsn {
  readonly publicKey: string;
  readonly projectId: bigint;
}

const MAX_DSN_LENGTH = 2048;

/** @throws EnvelopeRefusal */
export function parseDsn(text: string): Dsn {
  const scheme = text.indexOf('://');
  const slash = text.indexOf('/', scheme + 3);
  const at = text.lastIndexOf('@', slash);
  if (text.length > MAX_DSN_LENGTH || scheme <= 0 || slash < 0 || at < scheme + 3 || at + 1 === slash) {
    throw new EnvelopeRefusal('invalid_dsn');
  }
  const user = text.slice(scheme + 3, at);
  const colon = user.indexOf(':');
  const path = text.endsWith('/') ? text.slice(slash, -1) : text.slice(slash);
  const project = path.slice(path.lastIndexOf('/') + 1);
  if (!isProjectId(project)) throw new EnvelopeRefusal('invalid_dsn');
  return { publicKey: readPublicKey(colon < 0 ? user : user.slice(0, colon)), projectId: BigInt(project) };
}
