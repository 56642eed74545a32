// @ts-check

/**
 * What a new user reads: the page, the DSN for an SDK, and lines for a second terminal. The lines read tokens where they are kept, so
 * that none is printed, and go on working after a restart.
 * @param {{ url: string, devFile: string, orgId: string, channelId: string, dsn: string | undefined, dataDir: string | undefined }} what
 *   `dataDir`: where it is set; a second terminal would not know of it
 */
export function welcome({ url, devFile, orgId, channelId, dsn, dataDir }) {
  const command = `${dataDir === undefined ? '' : `TIDEWAY_DATA_DIR=${shellQuoted(dataDir)} `}npm run -s`;
  const json = "-H 'Content-Type: application/json'";
  const start = `curl -sS ${url}/v1/organizations/${orgId}/streams ${json} -d '{"channel_id":"${channelId}"}'`;
  const eventsUrl = `node -pe 'const c = JSON.parse(require("fs").readFileSync(0)).conduit; c.url + "?token=" + c.token + "&channel_id=" + c.channel_id'`;
  const token = `node -p 'require(${quoted(devFile)}).publish_token'`;
  const message = `{"org_id":"${orgId}","channel_id":"${channelId}","message_id":"'$(node -p 'crypto.randomUUID()')'","phase":"PHASE_DELTA","payload":{"text":"hello"}}`;
  const apiToken = `node -p 'require(${quoted(devFile)}).api_token'`;
  const { username: key = '', pathname: project = '' } = dsn ? new URL(dsn) : {};
  const events = `
Report an error, by any Sentry SDK with this DSN, or by hand:
${dsn}
curl -sS '${url}/api${project}/store/?sentry_key=${key}' -d '{"message":"hello"}'

See what was reported:
curl -sS ${url}/v1/organizations/${orgId}/events -H "Authorization: Bearer $(${apiToken})"
`;
  return `
Tideway is up. The page: ${url}

Listen:
curl -sSN "$(${start} | ${eventsUrl})"

Publish, as often as you like (PHASE_END instead of PHASE_DELTA ends the stream):
curl -sS ${url}/v1/messages:publish -H "Authorization: Bearer $(${token})" ${json} -d '${message}'

Or: ${command} listen -- --channel ${channelId}
    ${command} publish -- --channel ${channelId} hello

${dsn ? `${events.trimStart()}\n` : ''}Organizations, projects, keys and tokens: ${command} admin -- --help

Ctrl-C ends everything.
`;
}

/**
 * A path as a JavaScript string, within a shell's single quotes.
 * @param {string} path
 */
function quoted(path) {
  return JSON.stringify(path).replaceAll("'", "'\\''");
}

/** @param {string} word */
function shellQuoted(word) {
  return /^[\w./:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
