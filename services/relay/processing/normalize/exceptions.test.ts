import { expect, test } from 'vitest';
import { normalized } from '../testing.ts';
import { error, invalid, table } from './table-testing.ts';

table('exceptions', [
  {
    rule: 'one',
    sent: { exception: { type: 'A', value: 'b' } },
    is: { exception: { values: [{ type: 'A', value: 'b' }] } },
  },
  { rule: 'a list', sent: { exception: [{ type: 'A' }] }, is: { exception: { values: [{ type: 'A' }] } } },
  {
    rule: 'a type in the value',
    sent: { exception: { values: [{ value: 'ns.Foo: bar: baz' }] } },
    is: { exception: { values: [{ type: 'ns.Foo', value: 'bar: baz' }] } },
  },
  {
    rule: 'values that are no text',
    sent: {
      exception: [
        { type: 'A', value: { code: 5 } },
        { type: 'B', value: 5 },
      ],
    },
    is: {
      exception: {
        values: [
          { type: 'A', value: '{"code":5}' },
          { type: 'B', value: '5' },
        ],
      },
    },
  },
  {
    rule: 'neither type nor value',
    sent: { exception: [{ module: 'x' }, { type: 'A' }, null] },
    is: { exception: { values: [{ type: 'A' }] } },
    meta: {
      exception: {
        values: error(['missing_attribute', { attribute: 'type' }], ['missing_attribute', { attribute: 'type' }]),
      },
    },
  },
  {
    rule: 'the event’s stack trace',
    sent: { exception: { type: 'A' }, stacktrace: { frames: [{ function: 'f' }] } },
    is: {
      exception: { values: [{ type: 'A', stacktrace: { frames: [{ function: 'f' }] } }] },
      stacktrace: undefined,
    },
  },
  {
    rule: 'names of frames',
    sent: {
      exception: {
        type: 'A',
        stacktrace: {
          frames: [{ filename: 'a.py' }, { abs_path: 'https://x.io/js/a.js?1' }, { abs_path: '/a/b' }, {}],
        },
      },
    },
    is: {
      exception: {
        values: [
          {
            type: 'A',
            stacktrace: {
              frames: [
                { filename: 'a.py', abs_path: 'a.py' },
                { abs_path: 'https://x.io/js/a.js?1', filename: '/js/a.js' },
                { abs_path: '/a/b', filename: '/a/b' },
                {},
              ],
            },
          },
        ],
      },
    },
  },
  {
    rule: 'no object',
    sent: { exception: 'x' },
    is: { exception: null },
    meta: { exception: error(invalid('expected an object')) },
  },
]);

test('of very deep stacks the oldest 50 and the newest 200 frames stay', () => {
  const frames = Array.from({ length: 400 }, (_, lineno) => ({ lineno }));
  const event = normalized({ exception: { type: 'RecursionError', stacktrace: { frames } } });
  expect(event).toMatchObject({
    exception: { values: [{ stacktrace: { frames: [...frames.slice(0, 50), ...frames.slice(200)] } }] },
    _meta: { exception: { values: { 0: { stacktrace: { frames: { '': { len: 400 } } } } } } },
  });
});
