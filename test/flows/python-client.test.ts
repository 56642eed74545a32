import { afterAll, beforeAll, expect, test } from 'vitest';
import { makePythonClient, type PythonClient } from '../support/python.ts';
import { type Story, startStory } from '../support/story.ts';

// The contracts serve other languages than ours: the programs beside this file, through the edge.
let story: Story;
let python: PythonClient;

beforeAll(async () => {
  story = await startStory();
  python = await makePythonClient();
});
afterAll(async () => {
  python?.stop();
  await story?.stop();
});

test('a Python client generated from proto/ publishes, listens, resumes and asks for health', async () => {
  const printed = await python.run('python_client.py', `127.0.0.1:${story.edge.port}`, story.development.publish_token);
  // JSON.parse would round it.
  const seen = JSON.parse(printed.replace(/\b18446744073709551615\b/, '"2^64-1"'));
  // SERVING is 1; INVALID_ARGUMENT is 3, FAILED_PRECONDITION 9; the phases are START, DELTA and END.
  expect(seen).toEqual({
    health: [1, 1, 1],
    repeated: [false, true, true],
    answers: [
      [0, 'stored'],
      [1, 3],
      [2, 'stored'],
      [3, 9],
    ],
    heard: [
      [1, 0],
      [2, 1],
      [3, '2^64-1'],
    ],
    text: 'hello',
    resumed: true,
    refused: ['INVALID_ARGUMENT', ['channel_id', 'message_id', 'org_id', 'phase']],
    stranger: ['UNAUTHENTICATED', []],
  });
});

test('a Python client generated from proto/ manages organizations, projects and keys', async () => {
  const printed = await python.run('python_control.py', `127.0.0.1:${story.edge.port}`, story.development.api_token);
  // STATE_ACTIVE is 1.
  expect(JSON.parse(printed)).toEqual({
    organization: [1, story.development.organization, 1],
    project: ['from-python', 'python', true],
    key: [32, true, false],
    limited: [60, '18446744073709551615', true],
    kept: true,
    stale: ['ABORTED', 'ETAG_DIFFERS'],
    foreign: ['NOT_FOUND', 'NOT_FOUND'],
    taken: ['ALREADY_EXISTS', 'ALREADY_EXISTS'],
    stranger: ['UNAUTHENTICATED', 'MISSING_AUTHORIZATION'],
  });
});
