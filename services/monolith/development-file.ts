import { chmod, mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What a development server tells the tools of this machine, in `<data dir>/dev.json`, anew at each start. */
export interface DevelopmentFile {
  readonly edge_url: string;
  /** The organization that development publishes and listens as: its number, and its slug. */
  readonly org_id: number;
  readonly organization: string;
  /** The slug of a project to send events to, and where: undefined if it was disabled. */
  readonly project: string | undefined;
  readonly dsn: string | undefined;
  /** Undefined where publishers sign with keys that this server does not have. */
  readonly publish_token: string | undefined;
  /** An API token of the organization, with every scope. Undefined while the organization is disabled. */
  readonly api_token: string | undefined;
  /** Manages every organization. */
  readonly operator_token: string | undefined;
}

export async function writeDevelopmentFile(dir: string, file: DevelopmentFile): Promise<DevelopmentFile> {
  await writePrivately(join(dir, 'dev.json'), `${JSON.stringify(file, null, 2)}\n`);
  return file;
}

/** Beside it and renamed: whoever reads it meanwhile gets the old one or the new one, and nobody else gets any. */
export async function writePrivately(path: string, text: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
  await writeFile(`${path}.new`, text, { mode: 0o600 });
  await chmod(`${path}.new`, 0o600);
  await rename(`${path}.new`, path);
}
