import type { Dsn } from './event-sending.ts';
import type { JsonApi } from './json-api.ts';
import type { Story } from './story.ts';
import { until } from './until.ts';

/** A project of a story's, to send to and to read from. */
export interface EventProject extends Dsn {
  readonly slug: string;
  /** `/v1/organizations/…/projects/…` */
  readonly path: string;
}

export async function newEventProject(story: Story, api: JsonApi, settings: object = {}): Promise<EventProject> {
  const organization = `/v1/organizations/${story.development.organization}`;
  const { id, slug } = await api.fetch('POST', `${organization}/projects`, { name: 'Events', ...settings });
  const path = `${organization}/projects/${slug}`;
  const { keys } = await api.fetch('GET', `${path}/keys`);
  return { url: story.url, projectId: id, key: keys[0].public_key, slug, path };
}

/** The event, as soon as it is there. */
export async function readBack(api: JsonApi, { path }: EventProject, id: string) {
  let answer = await api.get(`${path}/events/${id}`);
  const isThere = async () => {
    answer = await api.get(`${path}/events/${id}`);
    return answer.status === 200;
  };
  if (answer.status !== 200) await until(`event ${id} can be read`, isThere);
  return answer.json.event;
}
