import { error, invalid, table } from './table-testing.ts';

table('breadcrumbs', [
  {
    rule: 'a list',
    sent: { breadcrumbs: [{ message: 'a' }, { type: 'http', level: 'error', category: 'c' }] },
    is: {
      breadcrumbs: {
        values: [
          { message: 'a', type: 'default', level: 'info' },
          { type: 'http', level: 'error', category: 'c' },
        ],
      },
    },
  },
  {
    rule: 'no list',
    sent: { breadcrumbs: 5 },
    is: { breadcrumbs: null },
    meta: { breadcrumbs: error(invalid('expected a list')) },
  },
]);
