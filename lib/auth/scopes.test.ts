import { getOption } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { field as fieldRules } from '#gen/buf/validate/validate_pb.ts';
import { ApiTokenSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import { SCOPES, scopeSet } from './scopes.ts';

test('the contract takes these scopes and no others', () => {
  const { type } = getOption(ApiTokenSchema.field.scopes, fieldRules);
  const items = type.case === 'repeated' ? type.value.items?.type : undefined;
  expect(items?.case === 'string' ? items.value.in : []).toEqual(SCOPES);
});

test('who may write may read', () => {
  expect([...scopeSet(['projects:write'])].sort()).toEqual(['projects:read', 'projects:write']);
  expect([...scopeSet(['projects:read'])]).toEqual(['projects:read']);
});

test('what nobody knows allows nothing', () => {
  expect([...scopeSet(['projects:admin', 'x:write', ''])]).toEqual([]);
});
