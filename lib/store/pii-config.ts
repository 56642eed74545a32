export type PiiConfigReading =
  | { readonly kind: 'config'; readonly config: object }
  | { readonly kind: 'not_json' | 'no_object' | 'too_deep' };

/**
 * Configs go to relays many in one message. What one reader can't follow makes the whole message unreadable, and so every
 * other project's config in it: Node writes no JSON of some thousand levels, and a Sentry relay reads none of more than 128.
 */
export const MAX_PII_CONFIG_LEVELS = 64;

/** A project's rules and where they apply, which are kept as the text that they were set as. */
export function readPiiConfig(text: string): PiiConfigReading {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: 'not_json' };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { kind: 'no_object' };
  return isWithin(value, MAX_PII_CONFIG_LEVELS) ? { kind: 'config', config: value } : { kind: 'too_deep' };
}

function isWithin(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return levels > 0 && Object.values(value).every((inner) => isWithin(inner, levels - 1));
}
