import { randomBytes } from 'node:crypto';
import { StoreRefusal } from './store-errors.ts';

const MAX_SLUG_LENGTH = 50;
const SUFFIX_BYTES = 4;
/** For names without a letter that a slug may have. */
const FALLBACK = 'x';

/** The slug that is asked for, or one made of the name. @throws StoreRefusal `slug_taken` */
export async function chooseSlug(
  asked: string | undefined,
  name: string,
  isTaken: (slug: string) => Promise<boolean>,
): Promise<string> {
  if (asked !== undefined && asked !== '') {
    if (await isTaken(asked)) throw new StoreRefusal('slug_taken', `the slug ${asked} is taken`);
    return asked;
  }
  const made = slugOf(name, MAX_SLUG_LENGTH);
  if (!(await isTaken(made))) return made;
  // 32 random bits beside the name.
  const suffix = `-${randomBytes(SUFFIX_BYTES).toString('hex')}`;
  return slugOf(name, MAX_SLUG_LENGTH - suffix.length) + suffix;
}

/** Lower-case letters, digits and single hyphens, and a letter among them: digits alone would be a number. */
export function slugOf(name: string, maxLength: number): string {
  const plain = name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-');
  const slug = plain.slice(0, maxLength).replace(/^-+|-+$/g, '');
  if (slug === '') return FALLBACK;
  return /[a-z]/.test(slug) ? slug : `${FALLBACK}-${slug}`.slice(0, maxLength);
}
