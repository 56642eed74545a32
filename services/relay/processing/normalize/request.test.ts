import { table } from './table-testing.ts';

table('requests', [
  {
    rule: 'parts of the URL',
    sent: { request: { url: 'http://x/y?a=b&c#d', method: 'post' } },
    is: { request: { url: 'http://x/y', query_string: 'a=b&c', fragment: 'd', method: 'POST' } },
  },
  {
    rule: 'its own query stays',
    sent: { request: { url: 'http://x/y?a=b', query_string: [['c', 'd']] } },
    is: { request: { url: 'http://x/y', query_string: [['c', 'd']] } },
  },
  {
    rule: 'cookies of an object',
    sent: { request: { headers: { Cookie: 'a=b; c=d=e; f', Host: 'x' } } },
    is: {
      request: {
        headers: { Host: 'x' },
        cookies: [
          ['a', 'b'],
          ['c', 'd=e'],
          ['f', ''],
        ],
      },
    },
  },
  {
    rule: 'cookies of pairs',
    sent: {
      request: {
        headers: [
          ['cookie', 'a=b'],
          ['Host', 'x'],
        ],
      },
    },
    is: { request: { headers: [['Host', 'x']], cookies: [['a', 'b']] } },
  },
  { rule: 'a JSON body', sent: { request: { data: '{"a":[1]}' } }, is: { request: { data: { a: [1] } } } },
  { rule: 'another body', sent: { request: { data: '{a' } }, is: { request: { data: '{a' } } },
  { rule: 'a form', sent: { request: { data: 'a=b' } }, is: { request: { data: 'a=b' } } },
]);
