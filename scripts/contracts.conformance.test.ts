import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { breaking, build, generated, lint, releases } from './lib/contracts.mjs';
import { root } from './lib/project.mjs';

// Each runs buf a few times, on a machine that may be busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

describe('a copy of the contracts', () => {
  let copy = '';
  let image = '';

  beforeEach(async () => {
    copy = mkdtempSync(join(tmpdir(), 'tideway-contracts-'));
    for (const path of ['buf.yaml', 'proto', 'third_party']) {
      cpSync(join(root, path), join(copy, path), { recursive: true });
    }
    image = join(copy, 'contracts', 'tideway-v1.binpb');
    mkdirSync(join(copy, 'contracts'));
    expect(await build(image, copy)).toEqual({ ok: true, output: '' });
  });

  afterEach(() => rmSync(copy, { recursive: true, force: true }));

  function edit(from: string, to: string) {
    const file = join(copy, 'proto/tideway/stream/v1/message.proto');
    const before = readFileSync(file, 'utf8');
    const after = before.replace(from, to);
    expect(after).not.toBe(before);
    writeFileSync(file, after);
  }

  test('breaks nobody as it is, and with a new field', async () => {
    expect(await breaking(image, copy)).toEqual({ ok: true, output: '' });
    edit('uint64 org_id = 7', 'string note = 1000;\n  uint64 org_id = 7');
    expect(await breaking(image, copy)).toEqual({ ok: true, output: '' });
  });

  test.each([
    ['a field of another type', 'uint64 sequence = 5', 'string sequence = 5', /changed type/],
    ['a field of another number', 'uint64 sequence = 5', 'uint64 sequence = 9', /field "5"/],
    ['a value that is gone', '  PHASE_ERROR = 4;\n', '', /value "4" on enum "Phase"/],
  ])('is refused with %s', async (_, from, to, why) => {
    edit(from, to);
    const finding = await breaking(image, copy);
    expect(finding.ok).toBe(false);
    expect(finding.output).toMatch(why);
  });

  test('is refused by lint with a name of another style', async () => {
    edit('uint64 sequence = 5', 'uint64 Sequence = 5');
    const finding = await lint(copy);
    expect(finding.ok).toBe(false);
    expect(finding.output).toContain('lower_snake_case');
  });

  test('finds its releases by their numbers', () => {
    cpSync(image, join(copy, 'contracts', 'tideway-v10.binpb'));
    cpSync(image, join(copy, 'contracts', 'tideway-v9.binpb'));
    expect(releases(copy).map(({ number }) => number)).toEqual([1, 9, 10]);
  });

  test('finds generated code that is changed, missing or of no contract', async () => {
    cpSync(join(root, 'buf.gen.yaml'), join(copy, 'buf.gen.yaml'));
    cpSync(join(root, 'gen'), join(copy, 'gen'), { recursive: true });
    writeFileSync(join(copy, 'gen/google/rpc/status_pb.ts'), '// edited');
    rmSync(join(copy, 'gen/google/api/http_pb.ts'));
    writeFileSync(join(copy, 'gen/stray_pb.ts'), '');
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const finding = await generated(copy);
    expect(finding.ok).toBe(false);
    expect(finding.output.split('\n')).toEqual([
      'gen/google/api/http_pb.ts is missing',
      'gen/google/rpc/status_pb.ts is not what buf generates',
      'gen/stray_pb.ts has no contract',
      'Run: npm run generate',
    ]);
  });
});
