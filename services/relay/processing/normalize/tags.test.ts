import { error, invalid, table } from './table-testing.ts';

table('tags', [
  {
    rule: 'an object',
    sent: { tags: { a: 'b', n: 5, t: true } },
    is: {
      tags: [
        ['a', 'b'],
        ['n', '5'],
        ['t', 'true'],
      ],
    },
  },
  { rule: 'pairs', sent: { tags: [['a', 'b']] }, is: { tags: [['a', 'b']] } },
  { rule: 'spaces in keys', sent: { tags: { 'a b': 'c' } }, is: { tags: [['a-b', 'c']] } },
  {
    rule: 'other characters in keys',
    sent: { tags: { 'a/b': 'c' } },
    is: { tags: [[null, 'c']] },
    meta: { tags: { 0: { 0: error(invalid('invalid character in tag key')) } } },
  },
  {
    rule: 'an empty value',
    sent: { tags: { a: '' } },
    is: { tags: [['a', null]] },
    meta: { tags: { 0: { 1: error(invalid('expected a non-empty value')) } } },
  },
  {
    rule: 'reserved',
    sent: { tags: { release: '1', dist: '2', user: '3', filename: '4', function: '5' } },
    is: { tags: undefined, release: undefined },
  },
  { rule: 'the environment', sent: { tags: { environment: 'prod' } }, is: { tags: undefined, environment: 'prod' } },
  {
    rule: 'its own environment',
    sent: { environment: 'a', tags: { environment: 'b' } },
    is: { tags: undefined, environment: 'a' },
  },
  {
    rule: 'the server’s name',
    sent: { server_name: 'web-1' },
    is: { tags: [['server_name', 'web-1']], server_name: undefined },
  },
  {
    rule: 'each once',
    sent: {
      tags: [
        ['a', '1'],
        ['a', '2'],
      ],
    },
    is: { tags: [['a', '1']] },
  },
  {
    rule: 'long values',
    sent: { tags: { a: 'x'.repeat(201) } },
    is: { tags: [['a', `${'x'.repeat(197)}...`]] },
    meta: { tags: { 0: { 1: { '': { rem: [['!limit', 's', 197, 200]], len: 201 } } } } },
  },
]);
