import type { ListRegionsRequest } from '#gen/tideway/control/v1/control_service_pb.ts';
import { invalidField } from '#lib/server/refusal.ts';
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from '#lib/store/store.ts';
import type { Control } from './caller.ts';

/** The regions are few and known to everybody who is let in; a page goes on after the name of the last. */
export async function listRegions({ store }: Control, { pageSize, pageToken }: ListRegionsRequest) {
  const after = Buffer.from(pageToken, 'base64url').toString();
  if (Buffer.from(after).toString('base64url') !== pageToken) {
    throw invalidField('page_token', 'must be the next_page_token of the same query');
  }
  const size = pageSize === 0 ? DEFAULT_PAGE_SIZE : Math.min(pageSize, MAX_PAGE_SIZE);
  const rest = (await store.regions.list()).filter(({ name }) => name > after);
  const page = rest.slice(0, size);
  const last = page.at(-1);
  return {
    regions: page.map(({ name, url }) => ({ name, url })),
    nextPageToken: rest.length > size && last ? Buffer.from(last.name).toString('base64url') : '',
  };
}
