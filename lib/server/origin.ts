/** The origin that a caller used, as the edge passes it on. It is told to nobody but the caller. */
export function originOf({ requestHeader, url }: { readonly requestHeader: Headers; readonly url: string }): string {
  const { host, protocol } = new URL(url);
  const asked = requestHeader.get('x-forwarded-proto');
  return `${asked === 'https' || asked === 'http' ? `${asked}:` : protocol}//${host}`;
}
