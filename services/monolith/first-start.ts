import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SCOPES } from '#lib/auth/scopes.ts';
import type { Organization } from '#lib/store/records.ts';
import type { Store } from '#lib/store/store.ts';
import { dsnOf } from '../control/dsn.ts';
import { type DevelopmentFile, writePrivately } from './development-file.ts';

export interface FirstStartOptions {
  readonly edgeUrl: string;
  readonly dataDir: string;
  readonly region: string;
}

const TOKEN = { name: 'Development', scopes: SCOPES };

/**
 * What a developer begins with: an organization, a project and its DSN, and a token, made at the first start and found at
 * the later ones. The token's secret is known only when it is made, so it is kept beside the development keys; where it
 * is lost, or does not belong to this store any more, another one is made.
 */
export async function firstStart(
  store: Store,
  { edgeUrl, dataDir, region }: FirstStartOptions,
): Promise<Pick<DevelopmentFile, 'org_id' | 'organization' | 'project' | 'dsn' | 'api_token'>> {
  const { organization, project, key, secret } = await store.bootstrap({
    organization: { slug: 'development', name: 'Development', region },
    project: { slug: 'default', name: 'Default' },
    token: TOKEN,
  });
  return {
    org_id: Number(organization.id),
    organization: organization.slug,
    project: project?.slug,
    dsn: project && key && dsnOf(edgeUrl, key.publicKey, project.id),
    api_token: await developmentToken(store, organization, join(dataDir, 'keys', 'development-api-token'), secret),
  };
}

async function developmentToken(
  store: Store,
  organization: Organization,
  path: string,
  made: string | undefined,
): Promise<string | undefined> {
  if (organization.state !== 'active') return undefined;
  if (made === undefined) {
    const kept = await readFile(path, 'utf8').catch(() => '');
    const token = await store.apiTokens.authenticate(kept.trim());
    if (token?.organizationId === organization.id) return kept.trim();
  }
  const secret = made ?? (await store.apiTokens.create('system', organization.id, TOKEN)).secret;
  await writePrivately(path, `${secret}\n`);
  return secret;
}
