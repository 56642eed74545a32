/** How a listener asks for a stream. */
export const FACES = {
  sse: { httpVersion: 1, contentType: undefined },
  'sse-h2': { httpVersion: 2, contentType: undefined },
  'connect-json': { httpVersion: 1, contentType: 'application/connect+json' },
  'connect-binary': { httpVersion: 1, contentType: 'application/connect+proto' },
  'connect-json-h2': { httpVersion: 2, contentType: 'application/connect+json' },
  'grpc-web': { httpVersion: 1, contentType: 'application/grpc-web+proto' },
  grpc: { httpVersion: 2, contentType: 'application/grpc+proto' },
} as const;

export type FaceName = keyof typeof FACES;
