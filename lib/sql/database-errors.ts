/** The database is away, full, or did not answer in time. A mutation may have happened; reads are worth repeating. */
export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError';
  readonly retryAfterMs = 1000;
}

/** The database was written by newer code. Nothing was touched. */
export class SchemaTooNewError extends Error {
  override readonly name = 'SchemaTooNewError';

  constructor(found: number, known: number) {
    super(
      `the database has schema ${found}, this version knows up to ${known}: run the version that it is of, or a newer`,
    );
  }
}

/** A file of the data folder can't be used until somebody does something about it. It was left as it is. One line for a person. */
export class UnusableFileError extends Error {
  override readonly name = 'UnusableFileError';

  constructor(file: string, why: string, options?: ErrorOptions) {
    super(`TIDEWAY_DATA_DIR: ${file} ${why}`, options);
  }
}
