import { readFile, stat } from 'node:fs/promises';
import { type CheckedJwks, MAX_JWKS_BYTES, parseJwks } from './jwks.ts';
import { ASYMMETRIC_ALGORITHMS, KeySettingError } from './key-pem.ts';
import { type KeySource, steadyMs } from './key-source.ts';

/** How often at most a file is looked at. */
const DEFAULT_CHECK_INTERVAL_MS = 1000;

export interface JwksFileOptions {
  /** The setting that holds the path, for errors. */
  readonly name: string;
  readonly path: string;
  readonly checkIntervalMs?: number;
  /** Hears why a changed file could not be used. The keys read before stay in use until it can. */
  readonly onProblem?: (error: Error) => void;
  readonly now?: () => number;
}

/**
 * A JSON Web Key Set in a file, read again when the file has changed (its inode too, so that a mounted secret that is
 * switched by a symbolic link counts).
 * @throws KeySettingError if it can't be used at the start
 */
export async function keysFromJwksFile(options: JwksFileOptions): Promise<KeySource> {
  const { name, path, checkIntervalMs = DEFAULT_CHECK_INTERVAL_MS, onProblem, now = steadyMs } = options;
  let { stamp, jwks } = await load(name, path, undefined);
  let checkedAtMs = now();
  let generation = 0;
  let checking: Promise<void> | undefined;

  async function check(): Promise<void> {
    try {
      const loaded = await load(name, path, stamp);
      if (loaded.jwks !== undefined && loaded.jwks.text !== jwks?.text) {
        jwks = loaded.jwks;
        generation++;
      }
      // Only what could be used is remembered, so a file caught half written is read again at the next check.
      stamp = loaded.stamp;
    } catch (error) {
      onProblem?.(error instanceof Error ? error : new KeySettingError(name, "can't be read"));
    }
  }

  return {
    algorithms: ASYMMETRIC_ALGORITHMS,
    get generation() {
      return generation;
    },
    async candidates(header) {
      if (checking === undefined && now() - checkedAtMs >= checkIntervalMs) {
        checkedAtMs = now();
        checking = check().finally(() => {
          checking = undefined;
        });
      }
      await checking;
      return jwks === undefined ? [] : jwks.candidates(header);
    },
  };
}

interface Loaded {
  readonly stamp: string;
  /** Undefined if the file is as it was. */
  readonly jwks: CheckedJwks | undefined;
}

async function load(setting: string, path: string, lastStamp: string | undefined): Promise<Loaded> {
  try {
    const { mtimeNs, ino, size } = await stat(path, { bigint: true });
    const stamp = `${mtimeNs}/${ino}/${size}`;
    if (stamp === lastStamp) return { stamp, jwks: undefined };
    if (size > MAX_JWKS_BYTES) throw new KeySettingError(setting, `is a file of more than ${MAX_JWKS_BYTES} bytes`);
    return { stamp, jwks: await parseJwks(setting, await readFile(path, 'utf8')) };
  } catch (error) {
    if (error instanceof KeySettingError) throw error;
    const code = error instanceof Error && 'code' in error ? error.code : 'unknown';
    throw new KeySettingError(setting, `names a file that can't be read (${code})`);
  }
}
