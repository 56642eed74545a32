import type { Store } from '#lib/store/store.ts';

/** Says where the edge of this region is reached, if that is known. Every start does; only a change is a change. */
export async function announceRegion(store: Store, name: string, url: string | undefined): Promise<void> {
  if (url !== undefined) await store.regions.put('system', { name, url });
}
