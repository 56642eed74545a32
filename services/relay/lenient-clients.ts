/** Python's JSON has NaN and Infinity, and these SDKs send what it makes. Whoever reads the event takes them as null. */
const LENIENT_CLIENTS = ['raven-python/', 'sentry-python/', 'sentry.python'];

export function isLenientClient(client: string | undefined): boolean {
  return client !== undefined && LENIENT_CLIENTS.some((name) => client.startsWith(name));
}
