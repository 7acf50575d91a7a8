/** Stores records in IndexedDB, or in memory if the browser offers no IndexedDB. */
import type { Batch, QueuedEvent, State } from "./records";

export interface Stores {
  events: QueuedEvent;
  batches: Batch;
  meta: State;
}

type Name = keyof Stores;

/** One transaction: all of its changes happen, or none. Records come in the order of their keys. */
export interface Tx {
  all<N extends Name>(name: N, limit: number): Promise<Stores[N][]>;
  put<N extends Name>(name: N, record: Stores[N]): void;
  /** Removes the keys from `first` to `last`. */
  remove(name: Name, first: number, last: number): void;
}

export interface Store {
  kind: "indexeddb" | "memory";
  /** Resolves once committed. `work` may run twice, so it must read everything through its transaction. */
  run<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
}

const NAMES: Name[] = ["events", "batches", "meta"];
// In WebKit a request to open a database can stay unanswered (bugs 226547 and 240503).
const OPEN_MS = 3_000;

const open = (name: string): Promise<IDBDatabase> =>
  new Promise((resolve, reject) => {
    setTimeout(reject, OPEN_MS, new Error("IndexedDB does not answer."));
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      for (const each of NAMES) request.result.createObjectStore(each, { keyPath: "k" });
    };
    request.onsuccess = () => {
      // This page must not block other pages that delete or upgrade the database.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  });

const attempt = <T>(database: IDBDatabase, work: (tx: Tx) => Promise<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    const transaction = database.transaction(NAMES, "readwrite");
    let result: T;
    transaction.oncomplete = () => resolve(result);
    transaction.onabort = () => reject(transaction.error);
    work({
      all: (name, limit) =>
        new Promise((found, failed) => {
          const request = transaction.objectStore(name).getAll(null, limit);
          request.onsuccess = () => found(request.result);
          request.onerror = () => failed(request.error);
        }),
      put: (name, record) => transaction.objectStore(name).put(record),
      remove: (name, first, last) => transaction.objectStore(name).delete(IDBKeyRange.bound(first, last)),
    }).then(
      (value) => {
        result = value;
      },
      (error) => {
        reject(error);
        try {
          transaction.abort();
        } catch {
          // The transaction had already ended, so the work failed.
        }
      },
    );
  });

/** The origin's IndexedDB. Rejects if it cannot be used. */
export async function idbStore(name: string): Promise<Store> {
  let database = await open(name);
  return {
    kind: "indexeddb",
    async run(work) {
      try {
        return await attempt(database, work);
      } catch (error) {
        if (isFull(error)) throw error;
        // Browsers close the connections of sleeping pages, and Safari sometimes loses its server: try once more on a new one.
        database.close();
        database = await open(name);
        return attempt(database, work);
      }
    },
  };
}

/** A store that lasts as long as the page. */
export function memoryStore(): Store {
  const stores = { events: new Map(), batches: new Map(), meta: new Map() };
  let last: Promise<unknown> = Promise.resolve();
  const tx: Tx = {
    all: async (name, limit) => [...stores[name].values()].slice(0, limit),
    put: (name, record) => stores[name].set(record.k, record),
    remove: (name, first, final) => {
      for (const key of stores[name].keys()) if (key >= first && key <= final) stores[name].delete(key);
    },
  };
  return {
    kind: "memory",
    run: (work) => {
      const done = last.then(() => work(tx));
      last = done.catch(() => {});
      return done;
    },
  };
}

export const isFull = (error: unknown): boolean => (error as Error | null)?.name === "QuotaExceededError";
