import { clone, create, equals } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { ProjectConfigSchema, ScopedQuota_Scope } from '#gen/tideway/config/v1/config_service_pb.ts';
import { SharedSettings } from './lookup-sharing.ts';

const quota = { id: 'q', limit: 5n, windowSec: 60 };
const config = (projectId: bigint, errorMessages: string[] = []) =>
  create(ProjectConfigSchema, {
    projectId,
    allowedDomains: ['*'],
    filters: { localhost: true, errorMessages },
    scrubbing: { scrubData: true },
    quotas: [
      { scope: ScopedQuota_Scope.ORGANIZATION, scopeId: 1n, quota },
      { scope: ScopedQuota_Scope.PROJECT, scopeId: projectId, quota },
    ],
  });

test('what says the same is the same object, and says what it said', () => {
  const shared = new SharedSettings();
  const [a, b, c] = [config(1n), config(2n), config(3n, ['*timeout*'])];
  for (const one of [a, b, c]) {
    const before = clone(ProjectConfigSchema, one);
    shared.share(one);
    expect(equals(ProjectConfigSchema, one, before)).toBe(true);
  }
  expect(b.filters).toBe(a.filters);
  expect(c.filters).not.toBe(a.filters);
  for (const one of [b, c]) {
    expect(one.scrubbing).toBe(a.scrubbing);
    expect(one.allowedDomains).toBe(a.allowedDomains);
    expect(one.quotas[0]).toBe(a.quotas[0]);
    expect(one.quotas[1]).not.toBe(a.quotas[1]);
    expect(one.quotas[1]?.quota).toBe(a.quotas[1]?.quota);
  }
});

test('large settings are left alone', () => {
  const shared = new SharedSettings();
  const [a, b] = [config(1n, ['x'.repeat(2_000)]), config(1n, ['x'.repeat(2_000)])];
  shared.share(a);
  shared.share(b);
  expect(b.filters).toEqual(a.filters);
  expect(b.filters).not.toBe(a.filters);
});
