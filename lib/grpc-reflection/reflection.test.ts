import { once } from 'node:events';
import { createServer, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { create, createFileRegistry, type DescFile, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Code, createClient } from '@connectrpc/connect';
import { connectNodeAdapter, createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Health } from '#gen/grpc/health/v1/health_pb.ts';
import * as v1 from '#gen/grpc/reflection/v1/reflection_pb.ts';
import * as v1alpha from '#gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { PublishService } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { file_tideway_stream_v1_stream_service, StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { createReflection } from './reflection.ts';

type Question = Exclude<v1.ServerReflectionRequest['messageRequest'], { case: undefined }>;

let server: Http2Server;
let baseUrl: string;

beforeAll(async () => {
  const handler = connectNodeAdapter({
    routes(router) {
      createReflection({ services: [StreamService, PublishService] }).routes(router);
      router.service(Health, {});
    },
  });
  server = createServer(handler);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

const transport = () => createGrpcTransport({ baseUrl, idleConnectionTimeoutMs: 1 });

/** Asks in one stream, and gives back the answers. */
async function ask(...questions: (Question | { case: undefined })[]) {
  const client = createClient(v1.ServerReflection, transport());
  const requests = questions.map((messageRequest) =>
    create(v1.ServerReflectionRequestSchema, { host: 'a.test', messageRequest }),
  );
  const responses = await collect(client.serverReflectionInfo(toAsync(requests)));
  expect(responses.map(({ originalRequest, validHost }) => [originalRequest, validHost])).toEqual(
    requests.map((request) => [request, 'a.test']),
  );
  return responses.map(({ messageResponse }) => messageResponse);
}

async function* toAsync<T>(items: T[]): AsyncGenerator<T> {
  yield* items;
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

function filesOf(response: v1.ServerReflectionResponse['messageResponse'] | undefined): FileDescriptorProto[] {
  if (response?.case !== 'fileDescriptorResponse') throw new Error(`no files but ${response?.case}`);
  return response.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
}

const bytesOf = (file: FileDescriptorProto): Uint8Array => toBinary(FileDescriptorProtoSchema, file);

/** As descriptor pools take them. */
function importedFirst(files: FileDescriptorProto[]): FileDescriptorProto[] {
  const byName = new Map(files.map((file) => [file.name, file]));
  const sorted = new Set<FileDescriptorProto>();
  const add = (name: string): void => {
    const file = byName.get(name);
    if (file === undefined) throw new Error(`${name} was not sent`);
    for (const dependency of file.dependency) add(dependency);
    sorted.add(file);
  };
  for (const { name } of files) add(name);
  return [...sorted];
}

/** What was asked for comes first. */
async function fileOf(question: Question): Promise<string | undefined> {
  return filesOf((await ask(question))[0])[0]?.name;
}

function allNames(file: DescFile): string[] {
  return [file.proto.name, ...file.dependencies.flatMap(allNames)];
}

test('list_services: those given, those on the router whenever they were added, and itself', async () => {
  const [response] = await ask({ case: 'listServices', value: '*' });
  expect(response?.case === 'listServicesResponse' && response.value.service.map(({ name }) => name)).toEqual([
    'grpc.health.v1.Health',
    'grpc.reflection.v1.ServerReflection',
    'grpc.reflection.v1alpha.ServerReflection',
    'tideway.stream.v1.PublishService',
    'tideway.stream.v1.StreamService',
  ]);
});

describe('files', () => {
  test('come with all that they import, as they are', async () => {
    const [response] = await ask({ case: 'fileByFilename', value: 'tideway/stream/v1/stream_service.proto' });
    const files = filesOf(response);
    expect(new Set(files.map(({ name }) => name))).toEqual(new Set(allNames(file_tideway_stream_v1_stream_service)));
    expect(files).toHaveLength(new Set(files.map(({ name }) => name)).size);
    expect(files[0] && bytesOf(files[0])).toEqual(bytesOf(file_tideway_stream_v1_stream_service.proto));

    // What a client does with them: the options of annotations are there too.
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: importedFirst(files) }));
    const subscribe = registry.getService('tideway.stream.v1.StreamService')?.method['subscribe'];
    expect(subscribe?.input.typeName).toBe('tideway.stream.v1.SubscribeRequest');
    expect(subscribe?.proto.options?.$unknown?.map(({ no }) => no)).toContain(72295728);
  });

  test('that a client has are not sent again, but for the one it asks for', async () => {
    const responses = await ask(
      { case: 'fileByFilename', value: 'tideway/stream/v1/stream_service.proto' },
      { case: 'fileByFilename', value: 'tideway/stream/v1/message.proto' },
      { case: 'fileContainingSymbol', value: 'tideway.stream.v1.PublishService' },
    );
    const names = responses.map((response) => filesOf(response).map(({ name }) => name));
    expect(names[1]).toEqual(['tideway/stream/v1/message.proto']);
    expect(names[2]?.[0]).toBe('tideway/stream/v1/publish_service.proto');
    expect(names[2]).not.toContain('tideway/stream/v1/message.proto');
  });
});

describe('file_containing_symbol', () => {
  test.each([
    ['a service', 'tideway.stream.v1.StreamService', 'tideway/stream/v1/stream_service.proto'],
    ['a method', 'tideway.stream.v1.StreamService.Subscribe', 'tideway/stream/v1/stream_service.proto'],
    ['a message', 'tideway.stream.v1.PublishRequest', 'tideway/stream/v1/message.proto'],
    ['a field', 'tideway.stream.v1.PublishRequest.channel_id', 'tideway/stream/v1/message.proto'],
    ['an enum', 'tideway.stream.v1.Phase', 'tideway/stream/v1/message.proto'],
    ['an enum value', 'tideway.stream.v1.PHASE_END', 'tideway/stream/v1/message.proto'],
    ['a nested enum', 'grpc.health.v1.HealthCheckResponse.ServingStatus', 'grpc/health/v1/health.proto'],
    ['a nested enum value', 'grpc.health.v1.HealthCheckResponse.SERVING', 'grpc/health/v1/health.proto'],
    ['a nested message', 'google.protobuf.DescriptorProto.ExtensionRange', 'google/protobuf/descriptor.proto'],
    ["a map's entry", 'google.protobuf.Struct.FieldsEntry', 'google/protobuf/struct.proto'],
    ["a map's value", 'google.protobuf.Struct.FieldsEntry.value', 'google/protobuf/struct.proto'],
    ['a oneof', 'google.protobuf.Value.kind', 'google/protobuf/struct.proto'],
    ['an extension', 'google.api.http', 'google/api/annotations.proto'],
    ['of a dependency', 'google.protobuf.Timestamp.seconds', 'google/protobuf/timestamp.proto'],
  ])('%s: %s', async (_, value, file) => {
    expect(await fileOf({ case: 'fileContainingSymbol', value })).toBe(file);
  });
});

describe('extensions', () => {
  test('file_containing_extension', async () => {
    const value = create(v1.ExtensionRequestSchema, {
      containingType: 'google.protobuf.MethodOptions',
      extensionNumber: 72295728,
    });
    expect(await fileOf({ case: 'fileContainingExtension', value })).toBe('google/api/annotations.proto');
  });

  test.each([
    ['google.protobuf.MethodOptions', [72295728]],
    ['google.protobuf.FieldOptions', [1159, 1160]],
    ['tideway.stream.v1.PublishRequest', []],
  ])('all_extension_numbers_of_type %s', async (value, extensionNumber) => {
    const [response] = await ask({ case: 'allExtensionNumbersOfType', value });
    expect(response).toMatchObject({
      case: 'allExtensionNumbersResponse',
      value: { baseTypeName: value, extensionNumber },
    });
  });
});

test('what is unknown gets an error, and the stream goes on', async () => {
  const value = create(v1.ExtensionRequestSchema, {
    containingType: 'google.protobuf.MethodOptions',
    extensionNumber: 1,
  });
  const responses = await ask(
    { case: 'fileByFilename', value: '../../etc/passwd' },
    { case: 'fileContainingSymbol', value: 'acme.Nothing' },
    { case: 'fileContainingSymbol', value: '' },
    { case: 'fileContainingExtension', value },
    { case: 'allExtensionNumbersOfType', value: 'acme.Nothing' },
    { case: undefined },
    { case: 'fileByFilename', value: 'tideway/stream/v1/message.proto' },
  );
  expect(responses.map((response) => response.case === 'errorResponse' && response.value.errorCode)).toEqual([
    Code.NotFound,
    Code.NotFound,
    Code.NotFound,
    Code.NotFound,
    Code.NotFound,
    Code.InvalidArgument,
    false,
  ]);
  expect(filesOf(responses.at(-1))[0]?.name).toBe('tideway/stream/v1/message.proto');
});

test('v1alpha answers the same', async () => {
  const client = createClient(v1alpha.ServerReflection, transport());
  const request = create(v1alpha.ServerReflectionRequestSchema, {
    messageRequest: { case: 'fileContainingSymbol', value: 'tideway.stream.v1.Phase' },
  });
  const [response] = await collect(client.serverReflectionInfo(toAsync([request])));
  const [v1Response] = await ask({ case: 'fileContainingSymbol', value: 'tideway.stream.v1.Phase' });
  expect(response?.originalRequest).toEqual(request);
  expect(
    response?.messageResponse.case === 'fileDescriptorResponse' && response.messageResponse.value.fileDescriptorProto,
  ).toEqual(v1Response?.case === 'fileDescriptorResponse' && v1Response.value.fileDescriptorProto);
});
