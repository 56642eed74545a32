import { Busboy, type BusboyFileStream, type BusboyInstance } from '@fastify/busboy';
import { Pieces } from './body-pieces.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import type { IntakeCall } from './http-call.ts';

export interface FormFile {
  /** Of the form's field. */
  readonly name: string;
  readonly filename: string | undefined;
  readonly contentType: string | undefined;
  readonly bytes: Buffer;
}

export interface Form {
  readonly fields: readonly { readonly name: string; readonly value: string }[];
  readonly files: readonly FormFile[];
}

const MAX_FIELDS = 500;
const MAX_FIELD_NAME_BYTES = 200;
const MAX_PART_HEADERS = 20;
const MAX_PART_HEADER_BYTES = 16 * 1024;
const MAX_NAME_LENGTH = 1024;

export function isMultipart(call: IntakeCall): boolean {
  return call.contentType === 'multipart/form-data';
}

/** Reads a form as it arrives. All of it is held to the limits of an envelope. @throws EnvelopeRefusal */
export async function readForm(call: IntakeCall): Promise<Form> {
  const { limits } = call.options;
  const form = new FormReader(call.headers['content-type'] ?? '', limits.maxEventBytes, limits.maxAttachments + 1);
  try {
    await call.readInto(limits.maxEnvelopeBytes, form);
    return await form.end();
  } finally {
    form.destroy();
  }
}

class FormReader {
  readonly #busboy: BusboyInstance;
  readonly #fields: { name: string; value: string }[] = [];
  readonly #files: (Omit<FormFile, 'bytes'> & { readonly pieces: Pieces })[] = [];
  readonly #finished = Promise.withResolvers<void>();
  #refusal: EnvelopeRefusal | undefined;

  constructor(contentType: string, maxFieldBytes: number, maxFiles: number) {
    // Whoever waits for it hears of it; until then nobody may.
    this.#finished.promise.catch(() => {});
    try {
      this.#busboy = new Busboy({
        headers: { 'content-type': contentType },
        limits: {
          fieldNameSize: MAX_FIELD_NAME_BYTES,
          fieldSize: maxFieldBytes,
          fields: MAX_FIELDS,
          files: maxFiles,
          headerPairs: MAX_PART_HEADERS,
          headerSize: MAX_PART_HEADER_BYTES,
        },
      });
    } catch (cause) {
      throw new EnvelopeRefusal('invalid_multipart', { cause });
    }
    this.#busboy
      .on('field', (name, value, nameTruncated, valueTruncated) => {
        if (nameTruncated || valueTruncated) this.#refuse(new EnvelopeRefusal('too_large', { item: 'form_data' }));
        else this.#fields.push({ name, value });
      })
      .on('file', (name, stream, filename, _encoding, contentType) => this.#file(name, stream, filename, contentType))
      .on('filesLimit', () => this.#refuse(new EnvelopeRefusal('too_many_of_a_kind', { item: 'attachment' })))
      .on('fieldsLimit', () => this.#refuse(new EnvelopeRefusal('too_many_of_a_kind', { item: 'form_data' })))
      .on('error', (cause) => this.#refuse(new EnvelopeRefusal('invalid_multipart', { cause })))
      .on('finish', () => this.#finished.resolve());
  }

  write(chunk: Buffer): void {
    if (this.#refusal !== undefined) throw this.#refusal;
    this.#busboy.write(chunk);
  }

  async end(): Promise<Form> {
    this.#busboy.end();
    await this.#finished.promise;
    return {
      fields: this.#fields,
      files: this.#files.map(({ pieces, ...file }) => ({ ...file, bytes: pieces.whole() })),
    };
  }

  destroy(): void {
    this.#busboy.destroy();
  }

  #file(name: string, stream: BusboyFileStream, filename: string | undefined, contentType: string | undefined): void {
    const pieces = new Pieces();
    this.#files.push({
      name,
      filename: filename?.slice(0, MAX_NAME_LENGTH) || undefined,
      contentType: contentType?.slice(0, MAX_NAME_LENGTH) || undefined,
      pieces,
    });
    stream.on('data', (chunk: Buffer) => pieces.push(chunk));
    stream.on('error', (cause) => this.#refuse(new EnvelopeRefusal('invalid_multipart', { cause })));
  }

  #refuse(refusal: EnvelopeRefusal): void {
    this.#refusal ??= refusal;
    this.#finished.reject(this.#refusal);
  }
}
