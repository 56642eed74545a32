import { type Http2ServerRequest, Http2ServerResponse, type OutgoingHttpHeaders } from 'node:http2';

type Headers = OutgoingHttpHeaders | readonly string[];

/**
 * Answers a gRPC call that ends before its first message in one piece, headers and status together: what gRPC calls
 * Trailers-Only. connect-node always sends the headers first. To clients that is the same; but only so does Envoy know,
 * before it answers anything, that a call failed: then it gives the JSON form of a stream the right HTTP status, and may
 * send a gRPC call again elsewhere.
 *
 * It holds the headers back until the first write or the end, which follow at once: connect-node sends no headers before
 * it has the first message.
 */
export class H2Response<Request extends Http2ServerRequest = Http2ServerRequest> extends Http2ServerResponse<Request> {
  #head: { readonly status: number; readonly headers: OutgoingHttpHeaders } | undefined;
  #trailers: OutgoingHttpHeaders | undefined;

  override writeHead(status: number, headers?: Headers): this;
  override writeHead(status: number, statusMessage: string, headers?: Headers): this;
  override writeHead(status: number, second?: string | Headers, third?: Headers): this {
    // HTTP/2 has no status messages.
    const headers = typeof second === 'string' ? third : second;
    if (headers === undefined || !isNamed(headers) || !isGrpc(headers['content-type'])) {
      return super.writeHead(status, headers);
    }
    this.#head = { status, headers };
    return this;
  }

  override addTrailers(trailers: OutgoingHttpHeaders): void {
    if (this.#head === undefined) super.addTrailers(trailers);
    else this.#trailers = trailers;
  }

  override write(...chunk: unknown[]): boolean {
    this.#sendHead();
    return Reflect.apply(super.write, this, chunk);
  }

  override end(...last: unknown[]): this {
    if (this.#head !== undefined && this.#trailers !== undefined && last.length === 0) {
      this.statusCode = this.#head.status;
      for (const [name, value] of Object.entries({ ...this.#head.headers, ...this.#trailers })) {
        if (value !== undefined) this.setHeader(name, value);
      }
    } else {
      this.#sendHead();
    }
    return Reflect.apply(super.end, this, last);
  }

  #sendHead(): void {
    if (this.#head === undefined) return;
    const { status, headers } = this.#head;
    this.#head = undefined;
    super.writeHead(status, headers);
    if (this.#trailers !== undefined) super.addTrailers(this.#trailers);
  }
}

function isNamed(headers: Headers): headers is OutgoingHttpHeaders {
  return !Array.isArray(headers);
}

// gRPC-Web has its trailers in the body.
function isGrpc(contentType: unknown): boolean {
  return typeof contentType === 'string' && /^application\/grpc(?:\+|;|$)/.test(contentType);
}
