import { expect, test } from 'vitest';
import { dsnOf } from './dsn.ts';

test.each([
  ['https://edge.example', 'https://abc@edge.example/7'],
  ['http://localhost:8080', 'http://abc@localhost:8080/7'],
  ['https://edge.example/tideway/', 'https://abc@edge.example/tideway/7'],
])('behind %s it is %s', (edgeUrl, dsn) => {
  expect(dsnOf(edgeUrl, 'abc', 7n)).toBe(dsn);
});
