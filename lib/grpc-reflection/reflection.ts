import { create, type DescFile, type DescService } from '@bufbuild/protobuf';
import { Code, type ConnectRouter } from '@connectrpc/connect';
import * as v1 from '#gen/grpc/reflection/v1/reflection_pb.ts';
import * as v1alpha from '#gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { DescriptorIndex } from './descriptor-index.ts';

/**
 * Server reflection for connect-es, v1 and v1alpha: tools such as grpcurl ask a server what it serves.
 *
 * 1. *What is answered is what is served*: the services given, those on the same router, and reflection itself.
 * 2. *Files are complete.* With a file come all that it imports, each once in a stream, so that a client can use an answer
 *    without asking again.
 * 3. What is not known is answered by an error response, and the stream goes on.
 */
export interface Reflection {
  /** Adds the services to a server. Services that are added to the router later are known too. */
  routes(router: ConnectRouter): void;
}

export interface ReflectionOptions {
  /** To be known beside what is on the router, such as services of another process behind the same name. */
  readonly services?: readonly DescService[];
  /** To be known although no service needs them, such as those with extensions. */
  readonly files?: readonly DescFile[];
}

export function createReflection(options: ReflectionOptions = {}): Reflection {
  return {
    routes(router) {
      let known: Known | undefined;
      // At the first request all routes are there; a server does not get new ones later.
      const getKnown = (): Known => {
        known ??= collect(router, options);
        return known;
      };
      router.service(v1.ServerReflection, {
        async *serverReflectionInfo(requests) {
          const stream = new ReflectionStream(getKnown());
          for await (const request of requests) {
            yield create(v1.ServerReflectionResponseSchema, {
              validHost: request.host,
              originalRequest: request,
              messageResponse: stream.answer(request.messageRequest),
            });
          }
        },
      });
      router.service(v1alpha.ServerReflection, {
        async *serverReflectionInfo(requests) {
          const stream = new ReflectionStream(getKnown());
          for await (const request of requests) {
            yield create(v1alpha.ServerReflectionResponseSchema, {
              validHost: request.host,
              originalRequest: request,
              messageResponse: stream.answer(request.messageRequest),
            });
          }
        },
      });
    },
  };
}

interface Known {
  /** Full names, sorted. */
  readonly services: readonly string[];
  readonly index: DescriptorIndex;
}

function collect(router: ConnectRouter, { services = [], files = [] }: ReflectionOptions): Known {
  const all = [...services, ...router.handlers.map((handler) => handler.service)];
  return {
    services: [...new Set(all.map((service) => service.typeName))].sort(),
    index: new DescriptorIndex([...all.map((service) => service.file), ...files]),
  };
}

// The two versions have the same messages under different names; what is asked and answered has the same form in both.
type Question = v1.ServerReflectionRequest['messageRequest'] | v1alpha.ServerReflectionRequest['messageRequest'];
type Answer =
  | { case: 'fileDescriptorResponse'; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: 'allExtensionNumbersResponse'; value: { baseTypeName: string; extensionNumber: number[] } }
  | { case: 'listServicesResponse'; value: { service: { name: string }[] } }
  | { case: 'errorResponse'; value: { errorCode: number; errorMessage: string } };

/** One client's stream, which remembers the files that the client has. */
class ReflectionStream {
  readonly #known: Known;
  readonly #sent = new Set<DescFile>();

  constructor(known: Known) {
    this.#known = known;
  }

  answer(question: Question): Answer {
    const { index, services } = this.#known;
    switch (question.case) {
      case 'listServices':
        return { case: 'listServicesResponse', value: { service: services.map((name) => ({ name })) } };
      case 'fileByFilename':
        return this.#file(index.fileByName(question.value), 'file');
      case 'fileContainingSymbol':
        return this.#file(index.fileOfSymbol(question.value), 'symbol');
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = question.value;
        return this.#file(index.fileOfExtension(containingType, extensionNumber), 'extension');
      }
      case 'allExtensionNumbersOfType': {
        const extensionNumber = index.extensionNumbers(question.value);
        if (extensionNumber === undefined) return notFound('type');
        return { case: 'allExtensionNumbersResponse', value: { baseTypeName: question.value, extensionNumber } };
      }
      default:
        return errorResponse(Code.InvalidArgument, 'the request asks for nothing that is known');
    }
  }

  #file(file: DescFile | undefined, what: string): Answer {
    if (file === undefined) return notFound(what);
    // The file that was asked for is sent always, and first, as clients expect.
    this.#sent.delete(file);
    const files: DescFile[] = [];
    this.#collectUnsent(file, files);
    const fileDescriptorProto = files.map((unsent) => this.#known.index.encode(unsent));
    return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
  }

  #collectUnsent(file: DescFile, files: DescFile[]): void {
    if (this.#sent.has(file)) return;
    this.#sent.add(file);
    files.push(file);
    for (const dependency of file.dependencies) this.#collectUnsent(dependency, files);
  }
}

function notFound(what: string): Answer {
  return errorResponse(Code.NotFound, `unknown ${what}`);
}

function errorResponse(errorCode: Code, errorMessage: string): Answer {
  return { case: 'errorResponse', value: { errorCode, errorMessage } };
}
