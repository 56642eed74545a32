import { expect, test } from 'vitest';
import { uuidOfEventId } from './event-id.ts';
import { projectChannelId } from './project-channel.ts';
import { isUuid } from './uuid.ts';

test("a project's channel is one UUID for ever, and another one for each project and organization", () => {
  expect(projectChannelId(7n, 42n)).toBe('5a69646d-1838-55b7-a43d-16b09e655f7f');
  expect(new Set([projectChannelId(7n, 42n), projectChannelId(7n, 43n), projectChannelId(42n, 7n)]).size).toBe(3);
});

test('an event id is spelled as a UUID', () => {
  const uuid = uuidOfEventId('0123456789abcdef0123456789abcdef');
  expect(uuid).toBe('01234567-89ab-cdef-0123-456789abcdef');
  expect(isUuid(uuid)).toBe(true);
});
