import { expect, test } from 'vitest';
import { render } from './render.ts';

test('a page is a table, and says how to go on', () => {
  const { text, notice } = render({
    keys: [
      { id: '1', name: 'Default', state: 'STATE_ACTIVE', rate_limit: { window_sec: 60, count: '5' } },
      { id: '20', name: 'x', state: 'STATE_DISABLED' },
    ],
    next_page_token: 'abc',
  });
  expect(text).toBe(
    ['id  name     state     rate_limit', '1   Default  active    5/60s', '20  x        disabled', ''].join('\n'),
  );
  expect(notice).toBe('There is more: --page-token abc');
});

test('an empty page says so', () => {
  expect(render({ projects: [], next_page_token: '' })).toEqual({ text: 'None.\n', notice: '' });
});

test('events and counts have columns of their own', () => {
  const event = { id: 'e1', level: 'error', title: 'KeyError', release: '', receive_time: 'now', platform: 'python' };
  expect(render({ events: [event], next_page_token: '' }).text).toBe(
    ['receive_time  id  level  title     release', 'now           e1  error  KeyError', ''].join('\n'),
  );
  const total = { outcome: 'filtered', reason: 'localhost', category: 'error', quantity: '3' };
  expect(render({ counts: [{ ...total, hour: 'h' }], totals: [total] }).text).toBe(
    ['outcome   reason     category  quantity', 'filtered  localhost  error     3', ''].join('\n'),
  );
});

test('a resource is its fields, groups indented', () => {
  const { text } = render({ id: '1', filters: { localhost: true, releases: ['a', 'b'] }, quotas: [], rate_limit: {} });
  expect(text).toBe(
    ['id          1', 'filters', '  localhost  true', '  releases   a, b', 'quotas', 'rate_limit  {}', ''].join('\n'),
  );
});

test('nothing of others moves the cursor', () => {
  expect(render({ name: 'a\u001b[2Jb' }).text).toBe('name  a\ufffd[2Jb\n');
});
