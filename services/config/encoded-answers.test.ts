import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  GetProjectConfigsResponseSchema,
  type KeyAnswerSchema,
  type ProjectConfig,
  ProjectConfigSchema,
} from '#gen/tideway/config/v1/config_service_pb.ts';
import { EncodedAnswers, type Flag } from './encoded-answers.ts';

const KEY = '0123456789abcdef0123456789abcdef';
/** The contract lets a key have 64 characters, and a character up to four bytes. */
const KEYS = [KEY, KEY.toUpperCase(), '', 'ключ', '🔑'.repeat(32)];
const FLAGS: readonly Flag[] = ['unchanged', 'pending', 'disabled', 'unavailable'];
/** Around what one, two and three bytes of a length can say, and what there is room for at first. */
const SLUG_LENGTHS = [0, 80, 120, 127, 128, 200, 16_300, 16_383, 16_384, 70_000];

test('the bytes are those that the contract has for these answers', () => {
  const encoded = new EncodedAnswers(1);
  const answers: MessageInitShape<typeof KeyAnswerSchema>[] = [];
  for (const publicKey of KEYS) {
    for (const length of SLUG_LENGTHS) {
      const value: ProjectConfig = create(ProjectConfigSchema, { projectId: 7n, slug: 's'.repeat(length) });
      encoded.config(publicKey, toBinary(ProjectConfigSchema, value));
      answers.push({ publicKey, answer: { case: 'config', value } });
    }
    for (const name of FLAGS) {
      encoded.flag(publicKey, name);
      answers.push({ publicKey, answer: { case: name, value: true } });
    }
  }
  expect(bytesOf(encoded).equals(toBinary(GetProjectConfigsResponseSchema, responseOf(answers)))).toBe(true);
});

test('an empty config is sent, and no answers are none', () => {
  const encoded = new EncodedAnswers(1);
  expect(encoded.field()).toBeUndefined();
  encoded.config(KEY, new Uint8Array());
  const answers = [{ publicKey: KEY, answer: { case: 'config' as const, value: {} } }];
  expect(bytesOf(encoded)).toEqual(Buffer.from(toBinary(GetProjectConfigsResponseSchema, responseOf(answers))));
});

function responseOf(answers: MessageInitShape<typeof KeyAnswerSchema>[]) {
  return create(GetProjectConfigsResponseSchema, { answers });
}

function bytesOf(encoded: EncodedAnswers): Buffer {
  const response = create(GetProjectConfigsResponseSchema);
  const field = encoded.field();
  if (field !== undefined) response.$unknown = [field];
  return Buffer.from(toBinary(GetProjectConfigsResponseSchema, response));
}
