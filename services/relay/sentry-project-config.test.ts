import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ScopedQuota_Scope } from '#gen/tideway/config/v1/config_service_pb.ts';
import { keyOf } from './lookup-testing.ts';
import { readSentryProject } from './sentry-project-config.ts';

const KEY = keyOf(1);

function configOf(state: unknown) {
  const project = readSentryProject(state, KEY);
  if (project?.kind !== 'enabled') throw new Error('not enabled');
  return project.config;
}

function quotasOf(...quotas: unknown[]) {
  const publicKeys = [{ publicKey: KEY, numericId: 3 }];
  return configOf({ projectId: 42, organizationId: 7, publicKeys, config: { quotas } }).quotas;
}

test('what is not said has its default', () => {
  expect(configOf({ projectId: 42, config: {} })).toMatchObject({
    projectId: 42n,
    organizationId: 0n,
    keyId: 0n,
    slug: '',
    allowedDomains: ['*'],
    quotas: [],
    retentionDays: 90,
    filters: { browserExtensions: false, errorMessages: [] },
    scrubbing: { scrubData: false, piiConfigJson: '' },
  });
  expect(configOf({ projectId: 42, config: { allowedDomains: [] } }).allowedDomains).toEqual([]);
});

test('disabled, and what can not be read', () => {
  expect(readSentryProject({ disabled: true }, KEY)).toEqual({ kind: 'disabled' });
  for (const state of [{}, 7, 'x', [], { projectId: 42 }, { config: {} }, { projectId: -1, config: {} }]) {
    expect(readSentryProject(state, KEY)).toBeUndefined();
  }
});

describe('quotas', () => {
  const errors = { id: 'e', categories: ['error'], limit: 5, window: 60 };

  test('by scope, whose number may be missing or text', () => {
    expect(
      quotasOf(
        errors,
        { ...errors, scope: 'project', scopeId: '42', reasonCode: 'too_many' },
        { ...errors, scope: 'key', scopeId: 3 },
      ),
    ).toMatchObject([
      {
        scope: ScopedQuota_Scope.ORGANIZATION,
        scopeId: 7n,
        quota: { id: 'e', limit: 5n, windowSec: 60, reasonCode: '' },
      },
      { scope: ScopedQuota_Scope.PROJECT, scopeId: 42n, quota: { reasonCode: 'too_many' } },
      { scope: ScopedQuota_Scope.KEY, scopeId: 3n, quota: { categories: ['error'] } },
    ]);
  });

  test('without a limit it counts; a limit of 0 needs no id', () => {
    const [count, none] = quotasOf({ id: 'count', limit: null }, { limit: 0, scope: 'key', reasonCode: 'off' });
    expect(count?.quota).toMatchObject({ id: 'count', windowSec: 0 });
    expect(count?.quota?.limit).toBeUndefined();
    expect(none?.quota).toMatchObject({ id: '', limit: 0n, reasonCode: 'off' });
  });

  test.each([
    ['another scope', { scope: 'global' }],
    ['a scope that objects have', { scope: 'constructor' }],
    ['of another', { scope: 'key', scopeId: '4' }],
    ['a number that is none', { scope: 'key', scopeId: 'x' }],
    ['of metrics', { namespace: 'custom' }],
    ['of parts', { groupBy: 'release' }],
    ['without id', { id: undefined }],
    ['without window', { window: null }],
    ['a limit that is none', { limit: -1 }],
  ])('%s: none', (_, changes) => {
    expect(quotasOf({ ...errors, ...changes })).toEqual([]);
  });
});

test('whatever JSON comes, it is read or is not', () => {
  const state = fc.oneof(
    fc.jsonValue(),
    fc.record({ projectId: fc.nat(), config: fc.jsonValue(), publicKeys: fc.jsonValue(), rev: fc.jsonValue() }),
    fc.record({
      projectId: fc.nat(),
      config: fc.record({
        quotas: fc.oneof(
          fc.jsonValue(),
          fc.array(fc.record({ id: fc.jsonValue(), limit: fc.jsonValue(), window: fc.jsonValue() })),
        ),
        filterSettings: fc.dictionary(fc.constantFrom('releases', 'clientIps', 'localhost'), fc.jsonValue()),
        eventRetention: fc.jsonValue(),
        allowedDomains: fc.jsonValue(),
      }),
    }),
  );
  fc.assert(
    fc.property(state, (json) => {
      const project = readSentryProject(json, KEY);
      expect(['enabled', 'disabled', undefined]).toContain(project?.kind);
    }),
  );
});

test('what is not told whose it is bounds nobody: limits of one would be those of all', () => {
  const quotas = ['organization', 'key', 'project'].map((scope) => ({ id: scope, scope, limit: 1, window: 60 }));
  const told = (more: object) => {
    const project = readSentryProject({ projectId: 7, ...more, config: { quotas } }, 'a'.repeat(32));
    return project?.kind === 'enabled' ? project.config.quotas.map(({ quota }) => quota?.id) : undefined;
  };
  expect(told({})).toEqual(['project']);
  const publicKeys = [{ publicKey: 'a'.repeat(32), numericId: 9 }];
  expect(told({ organizationId: 8, publicKeys })).toEqual(['organization', 'key', 'project']);
});
