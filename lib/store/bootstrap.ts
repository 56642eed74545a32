import type { Access } from './access.ts';
import { insertApiToken } from './api-tokens.ts';
import { insertOrganization, organizationOf } from './organizations.ts';
import { projectKeyOf } from './project-keys.ts';
import { insertProject, projectOf, projectRows } from './projects.ts';
import type { BootstrapInput, Bootstrapped } from './records.ts';

/** All in one mutation, as mutations wait for each other: whoever comes second finds the organization. */
export function bootstrap(access: Access, input: BootstrapInput): Promise<Bootstrapped> {
  return access.mutate('system', async (mutation) => {
    const { tx } = mutation;
    let secret: string | undefined;
    if ((await tx.selectFrom('organizations').select('id').limit(1).executeTakeFirst()) === undefined) {
      const { id } = await insertOrganization(mutation, input.organization);
      await insertProject(mutation, id, input.project);
      secret = (await insertApiToken(mutation, id, input.token)).secret;
    }
    const organization = await tx.selectFrom('organizations').selectAll().orderBy('id').executeTakeFirstOrThrow();
    const project = await projectRows(tx)
      .where('projects.organization_id', '=', organization.id)
      .orderBy('projects.id')
      .executeTakeFirst();
    const key =
      project &&
      (await tx
        .selectFrom('project_keys')
        .selectAll()
        .where('project_id', '=', project.id)
        .where('state', '=', 'active')
        .orderBy('id')
        .executeTakeFirst());
    return {
      organization: organizationOf(organization),
      project: project && projectOf(project),
      key: key && projectKeyOf(key),
      secret,
    };
  });
}
