import { MAX_NUMBER } from './page.ts';
import type { Ref } from './store.ts';

/** Undefined: a number that nothing can have. */
export function parseRef(ref: Ref): { readonly id: bigint } | { readonly slug: string } | undefined {
  if (typeof ref === 'string' && !/^[0-9]+$/.test(ref)) return { slug: ref };
  // A path is as long as its sender likes.
  if (typeof ref === 'string' && ref.length > 19) return undefined;
  const id = BigInt(ref);
  return id < 0n || id > MAX_NUMBER ? undefined : { id };
}
