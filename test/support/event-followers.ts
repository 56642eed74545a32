import { request } from 'node:http';
import { projectChannelId } from '#lib/ids/project-channel.ts';
import { JsonApi } from './json-api.ts';
import { eventsUrl } from './story.ts';
import { until } from './until.ts';

/** Somebody who listens to the stream of a project, as a page does: by a token of StartStream, and server-sent events. */
export interface ProjectFollower extends Disposable {
  readonly channelId: string;
  /** The payloads, as they came. */
  readonly heard: Readonly<Record<string, string>>[];
}

export async function followProject(
  url: string,
  apiToken: string | undefined,
  organizationId: string,
  projectId: string,
): Promise<ProjectFollower> {
  const channelId = projectChannelId(BigInt(organizationId), BigInt(projectId));
  const started = await new JsonApi(url, apiToken).fetch('POST', `/v1/organizations/${organizationId}/streams`, {
    channel_id: channelId,
  });
  const heard: Record<string, string>[] = [];
  let isOpen = false;
  let rest = '';
  const listening = request(eventsUrl(started.conduit), { agent: false, headers: { accept: 'text/event-stream' } });
  listening.on('error', () => undefined);
  listening.on('response', (response) => {
    isOpen = response.statusCode === 200;
    response.on('error', () => undefined);
    response.setEncoding('utf8').on('data', (text: string) => {
      const blocks = (rest + text).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const lines = block.split('\n');
        const data = lines.find((line) => line.startsWith('data:'));
        if (data !== undefined && lines.includes('event: stream')) heard.push(JSON.parse(data.slice(5)).payload);
      }
    });
  });
  listening.end();
  await until('the stream is open', () => isOpen);
  return { channelId, heard, [Symbol.dispose]: () => void listening.destroy() };
}
