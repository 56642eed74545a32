import { Code, ConnectError, createContextKey, type HandlerContext, type Interceptor } from '@connectrpc/connect';
import { Refusal, toConnectError } from './refusal.ts';
import { convertStoreError } from './store-refusal.ts';

/**
 * Turns what a use case throws into an RPC error, once, for unary and streaming calls: a Refusal and the store's by the
 * table; anything else is INTERNAL and says nothing, and `onError` hears of it.
 */
export function refusalInterceptor(onError: (error: unknown) => void): Interceptor {
  return (next) => async (request) => {
    const convert = (thrown: unknown) => toRpcError(thrown, request.signal.aborted, onError);
    try {
      const response = await next(request);
      if (!response.stream) return response;
      return { ...response, message: convertWhile(response.message, convert) };
    } catch (error) {
      throw convert(error);
    }
  };
}

/** What an RPC is told of something that was thrown. */
export function toRpcError(thrown: unknown, callerIsGone: boolean, onError: (error: unknown) => void): ConnectError {
  const error = convertStoreError(thrown);
  if (error instanceof Refusal) return toConnectError(error);
  if (error instanceof ConnectError) return error;
  // A caller that goes makes all kinds of errors on the way out, and hears none of them.
  if (callerIsGone) return new ConnectError('the caller went away', Code.Canceled);
  onError(error);
  return new ConnectError('internal error', Code.Internal);
}

async function* convertWhile<T>(messages: AsyncIterable<T>, convert: (error: unknown) => ConnectError) {
  try {
    yield* messages;
  } catch (error) {
    throw convert(error);
  }
}

/** Who may call a method, decided before a byte of any message is read: what nobody sends is not even decompressed. */
export interface Admission<Claims> {
  /** For the method's options. What is unexpected is answered as {@link refusalInterceptor} does. */
  requestGate(onError: (error: unknown) => void): (context: HandlerContext) => Promise<void>;
  /** What the caller was admitted with. */
  claimsOf(context: HandlerContext): Claims;
}

/** @param authenticate Takes the call's headers. Throws a Refusal, or what the store throws. */
export function admit<Claims extends object>(
  authenticate: (headers: Headers) => Claims | Promise<Claims>,
): Admission<Claims> {
  const key = createContextKey<Claims | undefined>(undefined);
  return {
    requestGate:
      (onError) =>
      async ({ requestHeader, values, signal }) => {
        try {
          values.set(key, await authenticate(requestHeader));
        } catch (thrown) {
          // Interceptors come after this.
          throw toRpcError(thrown, signal.aborted, onError);
        }
      },
    claimsOf({ values }) {
      const claims = values.get(key);
      if (claims === undefined) throw new Error('a method without its request gate');
      return claims;
    },
  };
}
