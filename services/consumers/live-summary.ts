import type { NewEvent } from '#lib/event-store/event-store.ts';

/** What followers of a project hear of an accepted event. A few hundred bytes: every text of it is bounded. */
export interface LiveSummary {
  readonly organizationId: bigint;
  readonly projectId: bigint;
  readonly eventId: string;
  readonly level: string;
  readonly title: string;
  readonly culprit: string;
  readonly platform: string;
  readonly release: string;
  readonly environment: string;
  readonly timeMs: number;
}

export function summaryOf(event: NewEvent): LiveSummary {
  const { organizationId, projectId, eventId, level, title, culprit, platform, release, environment, timeMs } = event;
  return { organizationId, projectId, eventId, level, title, culprit, platform, release, environment, timeMs };
}

/** The payload of the project's stream. Names and forms are those of the events API. */
export function livePayload(summary: LiveSummary): Record<string, string> {
  const { eventId, projectId, timeMs, level, title, culprit, platform, release, environment } = summary;
  return {
    event_id: eventId,
    project_id: String(projectId),
    level,
    title,
    culprit,
    platform,
    release,
    environment,
    time: new Date(timeMs).toISOString(),
  };
}
