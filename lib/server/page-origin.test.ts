import { expect, test } from 'vitest';
import { pageOrigin } from './page-origin.ts';

const OWN = 'https://tideway.example';

test.for([
  [{ 'sec-fetch-site': 'same-origin' }, OWN, 'own'],
  [{ 'sec-fetch-site': 'none' }, OWN, 'own'],
  [{ 'sec-fetch-site': 'same-site' }, OWN, 'other'],
  [{ 'sec-fetch-site': 'cross-site', origin: OWN }, OWN, 'other'],
  [{ origin: OWN }, OWN, 'own'],
  [{ origin: 'http://tideway.example' }, OWN, 'other'],
  [{ origin: 'https://tideway.example.evil.example' }, OWN, 'other'],
  [{ origin: 'null' }, OWN, 'other'],
  [{ origin: OWN }, undefined, 'other'],
  [{}, OWN, 'unknown'],
] as const)('%j to %s is of %s', ([headers, own, expected]) => {
  expect(pageOrigin(new Headers(headers), own)).toBe(expected);
});
