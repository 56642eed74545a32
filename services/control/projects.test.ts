import { Code } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { MAX_PII_CONFIG_LEVELS } from '#lib/store/pii-config.ts';
import { openControl } from './control-testing.ts';

const control = openControl();

test('rules are JSON that every relay can read', async () => {
  const { newOrganization, operator } = control();
  const { slug: organization } = await newOrganization();
  const rules = (piiConfigJson: string) => ({ name: 'App', scrubbing: { piiConfigJson } });
  const nested = (levels: number) => `{"a":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`;
  const { slug: project } = await operator.createProject({
    organization,
    create: rules(nested(MAX_PII_CONFIG_LEVELS)),
  });
  for (const [text, rule] of [
    [nested(MAX_PII_CONFIG_LEVELS + 1), 'must be nested at most 64 deep'],
    [nested(30_000), 'must be nested at most 64 deep'],
    ['[]', 'must be a JSON object'],
    ['{', 'must be JSON'],
  ] as const) {
    await expect(operator.createProject({ organization, create: rules(text) })).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: `create.scrubbing.pii_config_json: ${rule}`,
    });
    await expect(operator.updateProject({ organization, project, update: rules(text) })).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: `update.scrubbing.pii_config_json: ${rule}`,
    });
  }
});

test('a new project scrubs whatever else is said of scrubbing, until it is told not to', async () => {
  const { newOrganization, operator } = control();
  const { slug: organization } = await newOrganization();
  const scrubbing = { sensitiveFields: ['iban'] };
  const { slug: project, ...made } = await operator.createProject({ organization, create: { name: 'App', scrubbing } });
  expect(made.scrubbing).toMatchObject({ scrubData: true, scrubDefaults: true, sensitiveFields: ['iban'] });
  const off = { update: {}, updateMask: { paths: ['scrubbing.scrub_data'] } };
  const changed = await operator.updateProject({ organization, project, ...off });
  expect(changed.scrubbing).toMatchObject({ scrubData: false, scrubDefaults: true, sensitiveFields: ['iban'] });
});
