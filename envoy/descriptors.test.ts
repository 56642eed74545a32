import { spawnSync } from 'node:child_process';
import { createFileRegistry, fromBinary, getOption } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import { http } from '#gen/google/api/annotations_pb.ts';
import { descriptorSet } from './descriptors.ts';

/** Every RPC with its messages' fields and its HTTP form. */
function contractOf(bytes: Uint8Array) {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
  return ['PublishService', 'StreamService'].map((name) =>
    registry.getService(`tideway.stream.v1.${name}`)?.methods.map((method) => ({
      name: method.name,
      kind: method.methodKind,
      input: method.input.fields.map(({ name, number, proto }) => [name, number, proto.type, proto.typeName]),
      output: method.output.fields.map(({ name, number, proto }) => [name, number, proto.type, proto.typeName]),
      http: getOption(method, http),
    })),
  );
}

test('the edge transcodes by the contracts as buf builds them', () => {
  const args = ['build', 'proto', '--as-file-descriptor-set', '--exclude-source-info', '-o', '-'];
  const { stdout, status } = spawnSync('node_modules/.bin/buf', args, { cwd: new URL('..', import.meta.url) });
  expect(status).toBe(0);
  const contract = contractOf(descriptorSet());
  expect(contract.flat().map((method) => method?.name)).toEqual([
    'Publish',
    'PublishBatch',
    'PublishStream',
    'WatchCancel',
    'Subscribe',
    'SubscribeMany',
    'StartStream',
    'CancelStream',
    'RenewToken',
    'RevokeTokens',
  ]);
  expect(contract).toEqual(contractOf(stdout));
});

test('files come after those that they import, as the transcoder wants them', () => {
  const seen = new Set<string>();
  for (const { name, dependency } of fromBinary(FileDescriptorSetSchema, descriptorSet()).file) {
    expect(dependency.filter((path) => !seen.has(path))).toEqual([]);
    seen.add(name);
  }
  expect(seen).toContain('google/rpc/error_details.proto');
});
