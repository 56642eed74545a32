import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import { createOidcProvider, MAX_FINISHING, OidcAwayError } from './oidc.ts';

const REDIRECT_URI = 'http://127.0.0.1/auth/oidc/callback';

test('of a flood of made-up answers so many go on to the provider, and the others are refused at once', async () => {
  const asked: string[] = [];
  // Says where its endpoints are, and never answers at them.
  const server = createServer((request, response) => {
    if (request.url !== '/.well-known/openid-configuration') {
      asked.push(request.url ?? '');
      return;
    }
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({ issuer, token_endpoint: `${issuer}/token`, authorization_endpoint: `${issuer}/auth` }),
    );
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  const issuer = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  onTestFinished(() => void server.close().closeAllConnections());

  const provider = createOidcProvider({ issuer, clientId: 'us', clientSecret: 'secret', allowHttp: true });
  const { flow } = await provider.begin(REDIRECT_URI);
  const finish = () => provider.finish(REDIRECT_URI, `code=made-up&state=${flow.state}&iss=${issuer}`, flow);
  const all = Array.from({ length: MAX_FINISHING }, () => finish().catch((error: unknown) => error));
  await until('they have been asked', () => asked.length === MAX_FINISHING);
  await expect(finish()).rejects.toThrow(OidcAwayError);
  expect(asked).toHaveLength(MAX_FINISHING);
  server.closeAllConnections();
  for (const error of await Promise.all(all)) expect(error).toBeInstanceOf(OidcAwayError);
  // Then there is room again.
  const later = finish().catch((error: unknown) => error);
  await until('it is asked', () => asked.length === MAX_FINISHING + 1);
  server.closeAllConnections();
  await later;
});
