import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { Refusal, toConnectError } from './refusal.ts';
import { convertStoreError } from './store-refusal.ts';

/**
 * Turns what a use case throws into an RPC error, once, for unary and streaming calls: a Refusal and the store's by the
 * table; anything else is INTERNAL and says nothing, and `onError` hears of it.
 */
export function refusalInterceptor(onError: (error: unknown) => void): Interceptor {
  return (next) => async (request) => {
    const convert = (thrown: unknown): ConnectError => {
      const error = convertStoreError(thrown);
      if (error instanceof Refusal) return toConnectError(error);
      if (error instanceof ConnectError) return error;
      // A caller that goes makes all kinds of errors on the way out, and hears none of them.
      if (request.signal.aborted) return new ConnectError('the caller went away', Code.Canceled);
      onError(error);
      return new ConnectError('internal error', Code.Internal);
    };
    try {
      const response = await next(request);
      if (!response.stream) return response;
      return { ...response, message: convertWhile(response.message, convert) };
    } catch (error) {
      throw convert(error);
    }
  };
}

async function* convertWhile<T>(messages: AsyncIterable<T>, convert: (error: unknown) => ConnectError) {
  try {
    yield* messages;
  } catch (error) {
    throw convert(error);
  }
}
