import { describe } from 'vitest';
import { table } from './table-testing.ts';

describe('lengths', () => {
  const rem = (length: number, max: number) => ({ '': { rem: [['!limit', 's', max - 3, max]], len: length } });
  const dots = (max: number) => `${'x'.repeat(max - 3)}...`;
  const x = (length: number) => 'x'.repeat(length);
  table('are cut', [
    { rule: 'message within tolerance', sent: { message: x(8392) }, is: { logentry: { formatted: x(8392) } } },
    {
      rule: 'message',
      sent: { message: x(8393) },
      is: { logentry: { formatted: dots(8192) } },
      meta: { logentry: { formatted: rem(8393, 8192) } },
    },
    {
      rule: 'exception',
      sent: { exception: { type: 'A', value: x(9000) } },
      is: { exception: { values: [{ type: 'A', value: dots(8192) }] } },
      meta: { exception: { values: { 0: { value: rem(9000, 8192) } } } },
    },
    {
      rule: 'names',
      sent: { transaction: x(201), culprit: x(201), release: x(201), environment: x(65), logger: x(65) },
      is: { transaction: dots(200), culprit: dots(200), release: dots(200), environment: dots(64), logger: dots(64) },
      meta: {
        transaction: rem(201, 200),
        culprit: rem(201, 200),
        release: rem(201, 200),
        environment: rem(65, 64),
        logger: rem(65, 64),
      },
    },
    {
      rule: 'url',
      sent: { request: { url: x(257) } },
      is: { request: { url: dots(256) } },
      meta: { request: { url: rem(257, 256) } },
    },
    { rule: 'in characters, not in units', sent: { logger: '😀'.repeat(64) }, is: { logger: '😀'.repeat(64) } },
    {
      rule: 'never within a character',
      sent: { logger: '😀'.repeat(65) },
      is: { logger: `${'😀'.repeat(61)}...` },
      meta: { logger: rem(65, 64) },
    },
  ]);
});
