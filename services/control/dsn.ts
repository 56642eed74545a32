/** What an SDK is told to send events with: `https://<public key>@<host>/<project>`. */
export function dsnOf(edgeUrl: string, publicKey: string, projectId: bigint): string {
  const url = new URL(edgeUrl);
  const path = url.pathname.replace(/\/+$/, '');
  return `${url.protocol}//${publicKey}@${url.host}${path}/${projectId}`;
}
