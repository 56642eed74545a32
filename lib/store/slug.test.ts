import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRef } from './identifiers.ts';
import { slugOf } from './slug.ts';

describe('slugs', () => {
  test('are made of what a name has', () => {
    const made = ['Acme, Inc.', 'Zoë  & Søn', '42', '日本', '', '--a--'].map((name) => slugOf(name, 50));
    expect(made).toEqual(['acme-inc', 'zoe-s-n', 'x-42', 'x', 'x', 'a']);
  });

  test('whatever the name, are found as slugs and never taken for numbers', async () => {
    const property = fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 3, max: 50 }), (name, maxLength) => {
      const slug = slugOf(name, maxLength);
      expect(slug.length).toBeLessThanOrEqual(maxLength);
      expect(slug).toMatch(/^[a-z0-9-]*[a-z][a-z0-9-]*$/);
      expect(parseRef(slug)).toEqual({ slug });
    });
    await fc.assert(property);
  });
});
