/**
 * The requests of this page. Each has a deadline, and fails with an {@link ApiError} whose text is for a person.
 *
 * @typedef {{ orgId: string, publishToken: string, dataDir: string | undefined }} Development What the development server gives
 *   this page. `dataDir`: where it was told to keep its data.
 * @typedef {{ token: string, channel_id: string, url: string }} Access Where to listen, and with what.
 * @typedef {{ id: string, duplicate?: boolean }} Published
 */

const TIMEOUT_MS = 10_000;

export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status 0 if there was no answer at all.
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }

  /** True if the same request may well succeed later. */
  get passes() {
    return [0, 429, 502, 503, 504].includes(this.status);
  }
}

/** @returns {Promise<Development>} */
export async function fetchDevelopment() {
  const answer = await request('/console/dev.json', {}, 'the settings of this page');
  if (typeof answer.publish_token !== 'string') {
    throw new ApiError('This server has no key to sign a publish token with, so this page has none.', 412);
  }
  return { orgId: String(answer.org_id), publishToken: answer.publish_token, dataDir: answer.data_dir };
}

/**
 * Makes a channel, or a new token for the one given.
 * @param {string} orgId
 * @param {string} [channelId]
 * @returns {Promise<Access>}
 */
export async function startStream(orgId, channelId) {
  const body = channelId === undefined ? {} : { channel_id: channelId };
  const answer = await request(`/v1/organizations/${orgId}/streams`, jsonPost(body), 'a stream');
  // The edge has a public name; this page stays with the one by which it was opened, which reaches the same edge.
  const url = new URL(new URL(answer.conduit.url).pathname, location.origin).href;
  return { ...answer.conduit, url };
}

/**
 * @param {Development} development
 * @param {{ channel_id: string, message_id: string, phase: string, sequence: string, payload?: object }} message
 * @returns {Promise<Published>}
 */
export function publish({ orgId, publishToken }, message) {
  const init = jsonPost({ org_id: orgId, ...message });
  init.headers['authorization'] = `Bearer ${publishToken}`;
  return request('/v1/messages:publish', init, 'to publish');
}

/** @param {object} body */
function jsonPost(body) {
  return {
    method: 'POST',
    body: JSON.stringify(body),
    headers: /** @type {Record<string, string>} */ ({ 'content-type': 'application/json' }),
  };
}

/**
 * @param {string} path
 * @param {RequestInit} init
 * @param {string} what Completes "The edge refused …".
 */
async function request(path, init, what) {
  let response;
  try {
    response = await fetch(path, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new ApiError(`The edge at ${location.origin} does not answer. Is "npm start" still running?`, 0);
  }
  const body = await response.json().catch(() => undefined);
  if (response.ok && body) return body;
  const why = typeof body?.message === 'string' ? body.message : response.statusText || 'no reason given';
  throw new ApiError(`The edge refused ${what}: ${response.status}, ${why.replace(/\.$/, '')}.`, response.status);
}
