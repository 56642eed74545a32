import { chmod, mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PublishTokenSigner } from '#lib/auth/publish-token-signer.ts';

/** What a development server tells the tools of this machine, in `<data dir>/dev.json`, anew at each start. */
export interface DevelopmentFile {
  readonly edge_url: string;
  /** The organization that development publishes and listens as. */
  readonly org_id: number;
  /** Undefined where publishers sign with keys that this server does not have. */
  readonly publish_token: string | undefined;
  readonly api_token: string | undefined;
}

const DEVELOPMENT_ORG = 1;

export async function writeDevelopmentFile(
  dir: string,
  options: {
    readonly edgeUrl: string;
    readonly publishSigner: PublishTokenSigner | undefined;
    readonly apiToken: string | undefined;
  },
): Promise<DevelopmentFile> {
  const file: DevelopmentFile = {
    edge_url: options.edgeUrl,
    org_id: DEVELOPMENT_ORG,
    publish_token: await options.publishSigner?.sign({ subject: 'development' }),
    api_token: options.apiToken,
  };
  await mkdir(dir, { recursive: true, mode: 0o700 });
  // Written beside it and renamed: whoever reads it meanwhile gets the old one or the new one.
  const path = join(dir, 'dev.json');
  await writeFile(`${path}.new`, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
  await chmod(`${path}.new`, 0o600);
  await rename(`${path}.new`, path);
  return file;
}
