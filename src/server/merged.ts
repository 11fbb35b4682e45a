/** What one of several sources has given, or how it ended. */
interface Given<T> {
  readonly source: AsyncGenerator<T, void, void>;
  readonly value?: T;
  readonly done?: boolean;
  readonly error?: unknown;
}

/**
 * What all sources give, in the order in which it comes. None is asked for more
 * before its last was taken. Where one fails, or nobody listens any more, `stop`
 * is called, and all of them are ended.
 */
export async function* merged<T>(
  sources: readonly AsyncGenerator<T, void, void>[],
  stop: () => void,
): AsyncGenerator<T, void, void> {
  const given: Given<T>[] = [];
  let wake = Promise.withResolvers<void>();
  const tell = (what: Given<T>) => {
    given.push(what);
    wake.resolve();
  };
  const ask = (source: AsyncGenerator<T, void, void>) =>
    source.next().then(
      ({ value, done }) => tell({ source, value: value as T, done }),
      (error) => tell({ source, error, done: true }),
    );
  sources.forEach(ask);
  let open = sources.length;
  try {
    while (open > 0) {
      if (given.length === 0) {
        wake = Promise.withResolvers();
        await wake.promise;
      }
      const { source, value, done, ...rest } = given.shift()!;
      if ("error" in rest) throw rest.error;
      if (done) open--;
      else {
        yield value as T;
        ask(source);
      }
    }
  } finally {
    if (open > 0) {
      stop();
      await Promise.allSettled(sources.map((source) => source.return()));
    }
  }
}
