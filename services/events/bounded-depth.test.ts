import { create, fromBinary, type JsonObject, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { EventSchema } from '#gen/tideway/events/v1/event_service_pb.ts';
import { boundedDepth } from './bounded-depth.ts';

function nested(levels: number): JsonObject {
  let body: JsonObject = { end: true };
  for (let level = 1; level < levels; level++) body = { inner: body };
  return body;
}

test('what readers can follow is left as it is', () => {
  const body = { a: [1, { b: null }], ...nested(30) };
  expect(boundedDepth(body)).toBe(body);
});

test('what is deeper becomes text, and the rest stays', () => {
  const body = { kept: 1, ...nested(200) };
  const bounded = boundedDepth(body);
  expect(bounded['kept']).toBe(1);
  let level: unknown = bounded;
  for (let depth = 1; depth <= 30; depth++) level = (level as JsonObject)['inner'];
  expect(JSON.parse(level as string)).toEqual(nested(170));
});

test('the answer can be read with the usual limits', () => {
  const event = create(EventSchema, { body: boundedDepth(nested(500)) });
  expect(fromBinary(EventSchema, toBinary(EventSchema, event)).body).toEqual(event.body);
});
