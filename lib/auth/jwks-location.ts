import { keysFromJwksFile } from './jwks-file.ts';
import { keysFromJwksUrl } from './jwks-url.ts';
import type { KeySource } from './key-source.ts';

export interface JwksLocationOptions {
  /** The setting that holds the location, for errors. */
  readonly name: string;
  /** The path of a file, or an http or https URL. */
  readonly location: string;
  /** Hears why changed keys could not be used; the ones before stay in use. */
  readonly onProblem?: (error: Error) => void;
}

/**
 * A JSON Web Key Set from where a setting says; rotated without a restart.
 * @throws KeySettingError
 */
export async function keysFromJwks({ location, ...options }: JwksLocationOptions): Promise<KeySource> {
  return /^https?:/i.test(location)
    ? keysFromJwksUrl({ ...options, url: location })
    : keysFromJwksFile({ ...options, path: location });
}
