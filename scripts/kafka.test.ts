import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { jarProblem, kafkaVersion } from './lib/kafka.mjs';

const recipe = fileURLToPath(new URL('./lib/kafka/', import.meta.url));

test('Kafka has one version', () => {
  expect(readFileSync(join(recipe, 'pom.xml'), 'utf8')).toContain(`<version>${kafkaVersion}</version>`);
  expect(readFileSync(join(recipe, 'jars.sha256'), 'utf8')).toContain(` kafka_2.13-${kafkaVersion}.jar\n`);
});

test('a jar that is missing, another one or one too many is found', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tideway-jars-'));
  try {
    const hash = createHash('sha256').update('code').digest('hex');
    expect(jarProblem(folder, `${hash}  a.jar\n`)).toBe('a.jar is missing');
    writeFileSync(join(folder, 'a.jar'), 'code');
    expect(jarProblem(folder, `${hash}  a.jar\n`)).toBeUndefined();
    writeFileSync(join(folder, 'b.jar'), 'more');
    expect(jarProblem(folder, `${hash}  a.jar\n`)).toContain('b.jar is not');
    writeFileSync(join(folder, 'a.jar'), 'other code');
    expect(jarProblem(folder, `${hash}  a.jar\n`)).toContain('a.jar is not');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
