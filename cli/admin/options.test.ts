import { describe, expect, test } from 'vitest';
import { ControlService } from '#gen/tideway/control/v1/control_service_pb.ts';
import { COMMANDS } from './commands.ts';
import { ADMIN_HELP, parseAdminOptions, parseRateLimit } from './options.ts';

test('there is a command for every call', () => {
  const reached = new Set(COMMANDS.map(({ method }) => method.name));
  expect(ControlService.methods.map(({ name }) => name).filter((name) => !reached.has(name))).toEqual([]);
});

test('the help names every command', () => {
  for (const { resource, verb } of COMMANDS) expect(ADMIN_HELP).toContain(`  ${resource} ${verb}`);
});

test('a command is a resource, a verb, a name and flags', () => {
  const args = ['keys', 'update', 'abc', '--rate-limit', '5/60s', '--project', 'app', '--json'];
  expect(parseAdminOptions(args)).toMatchObject({
    kind: 'options',
    options: {
      command: { resource: 'keys', verb: 'update', names: 'key' },
      name: 'abc',
      flags: { 'rate-limit': '5/60s' },
      project: 'app',
      json: true,
    },
  });
});

describe('wrong usage', () => {
  test.each([
    [['projects'], 'projects can be told to list, get, create, update, disable, enable.'],
    [['project', 'list'], /^There are organizations, projects, /],
    [['projects', 'list', 'app'], 'projects list takes no name.'],
    [['projects', 'get'], 'Say which: projects get <project>.'],
    [['projects', 'get', 'a', 'b'], 'Say which: projects get <project>.'],
    [['projects', 'list', '--name', 'x'], '--name means nothing to projects list.'],
    [['projects', 'list', '--nope'], /nope/],
  ])('%j', (args, why) => {
    const parsed = parseAdminOptions(args);
    expect(parsed).toEqual({ kind: 'wrong', why: expect.stringMatching(why) });
  });
});

test.each([[[]], [['--help']], [['projects', 'list', '-h']]])('%j asks for help', (args) => {
  expect(parseAdminOptions(args)).toEqual({ kind: 'help' });
});

test('every line of the help has its columns apart', () => {
  const lines = ADMIN_HELP.split('\n').filter((line) => /^ {2}(?!npm)[a-z]+ [a-z]+ /.test(line));
  expect(lines.length).toBeGreaterThan(30);
  for (const line of lines) expect(line).toMatch(/^ {2}[a-z]+ [a-z]+( <[a-z]+>)? {2,}\S/);
});

test.each([
  ['5/60s', { count: '5', window_sec: 60 }],
  ['0/1s', { count: '0', window_sec: 1 }],
  ['none', null],
  ['5', undefined],
  ['5/60', undefined],
  ['-5/60s', undefined],
])('a rate limit %s', (text, limit) => {
  expect(parseRateLimit(text)).toEqual(limit);
});
