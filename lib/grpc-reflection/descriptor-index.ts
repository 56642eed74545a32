import type { DescExtension, DescFile, DescMessage } from '@bufbuild/protobuf';
import { toBinary } from '@bufbuild/protobuf';
import { nestedTypes } from '@bufbuild/protobuf/reflect';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';

/** Finds the file of anything that files and their dependencies declare, by its full name without a leading dot. */
export class DescriptorIndex {
  readonly #filesByName = new Map<string, DescFile>();
  readonly #filesBySymbol = new Map<string, DescFile>();
  readonly #messages = new Set<string>();
  readonly #extensions = new Map<string, Map<number, DescExtension>>();
  readonly #encoded = new Map<DescFile, Uint8Array>();

  constructor(files: Iterable<DescFile>) {
    for (const file of files) this.#addFile(file);
  }

  fileByName(name: string): DescFile | undefined {
    return this.#filesByName.get(name);
  }

  fileOfSymbol(symbol: string): DescFile | undefined {
    return this.#filesBySymbol.get(symbol);
  }

  fileOfExtension(extendee: string, number: number): DescFile | undefined {
    return this.#extensions.get(extendee)?.get(number)?.file;
  }

  /** In rising order; undefined if there is no such message. */
  extensionNumbers(extendee: string): number[] | undefined {
    const numbers = [...(this.#extensions.get(extendee)?.keys() ?? [])].sort((a, b) => a - b);
    return numbers.length > 0 || this.#messages.has(extendee) ? numbers : undefined;
  }

  /** The file as a FileDescriptorProto, encoded once. */
  encode(file: DescFile): Uint8Array {
    let bytes = this.#encoded.get(file);
    if (bytes === undefined) {
      bytes = toBinary(FileDescriptorProtoSchema, file.proto);
      this.#encoded.set(file, bytes);
    }
    return bytes;
  }

  #addFile(file: DescFile): void {
    if (this.#filesByName.has(file.proto.name)) return;
    this.#filesByName.set(file.proto.name, file);
    for (const dependency of file.dependencies) this.#addFile(dependency);

    for (const type of nestedTypes(file)) {
      this.#addSymbol(type.typeName, file);
      switch (type.kind) {
        case 'service':
          for (const method of type.methods) this.#addSymbol(`${type.typeName}.${method.name}`, file);
          break;
        case 'enum':
          // The values of an enum are named beside it, not in it.
          for (const value of type.values) this.#addSymbol(siblingOf(type.typeName, value.name), file);
          break;
        case 'message':
          this.#addMessage(type, file);
          break;
        case 'extension':
          this.#addExtension(type);
          break;
      }
    }
  }

  #addMessage(message: DescMessage, file: DescFile): void {
    this.#messages.add(message.typeName);
    for (const { name } of [...message.fields, ...message.oneofs]) this.#addSymbol(`${message.typeName}.${name}`, file);
    // The entries of maps are messages too, though not among protobuf-es's.
    for (const { name, field, options } of message.proto.nestedType) {
      if (options?.mapEntry !== true) continue;
      const entry = `${message.typeName}.${name}`;
      this.#messages.add(entry);
      this.#addSymbol(entry, file);
      for (const { name: part } of field) this.#addSymbol(`${entry}.${part}`, file);
    }
  }

  #addExtension(extension: DescExtension): void {
    const extendee = extension.extendee.typeName;
    const numbers = this.#extensions.get(extendee) ?? new Map<number, DescExtension>();
    numbers.set(extension.number, extension);
    this.#extensions.set(extendee, numbers);
  }

  #addSymbol(name: string, file: DescFile): void {
    this.#filesBySymbol.set(name, file);
  }
}

function siblingOf(typeName: string, name: string): string {
  return typeName.slice(0, typeName.lastIndexOf('.') + 1) + name;
}
