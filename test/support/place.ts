import { type Deployment, startDeployment } from './deployment.ts';
import { type Story, startStory } from './story.ts';

/** Where the same story is told twice: in memory, in one process; and on Redis, with the services apart. */
export interface Place {
  /** Of the edge. */
  readonly url: string;
  readonly orgId: bigint;
  readonly publishToken: string;
  stop(): Promise<void>;
}

type Env = Readonly<Record<string, string>>;

/** For `describe.each`. */
export const PLACES = [
  ['in memory', inMemory],
  ['on Redis', onRedis],
] as const;

/** Without the rate that publishers have by default. */
export async function inMemory(env: Env = {}): Promise<Place & { readonly story: Story }> {
  const story = await startStory({ PUBLISH_RATE_PER_SEC: '0', PUBLISH_STREAM_RATE_PER_SEC: '0', ...env });
  const { url } = story;
  return { url, orgId: 1n, publishToken: story.development.publish_token, story, stop: () => story.stop() };
}

/** The same, with one process that publishes and two that stream. */
export async function onRedis(env: Env = {}): Promise<Place & { readonly deployment: Deployment }> {
  const deployment = await startDeployment({
    replicas: { publish: 1, stream: 2 },
    env: { PUBLISH_STREAM_RATE_PER_SEC: '0', ...env },
  });
  const { orgId, publishToken, edge } = deployment;
  return { url: edge.url, orgId, publishToken, deployment, stop: () => deployment.stop() };
}
