// Where sealing keys are kept between visits. A store is any object with
// load(key), put(key, name, record) and remove(key, name); all may be async. A
// record is a plain object to be kept as it is: its keys are CryptoKeys that
// can't be exported, which IndexedDB keeps as they are. (A generation's modulus
// is bytes, though: a second line, not a key.)

const DB = 'sunzi-seal';
const STORE = 'keys';

/** A record's name among those of its client. */
export const recordName = (r) => (r.kind === 'keys' ? `keys ${r.generation}` : `channel ${r.channel} ${r.epoch}`);

/** Forgotten with the page. */
export function memoryKeys() {
  const kept = new Map(); // key -> name -> record
  const of = (key) => kept.get(key) ?? kept.set(key, new Map()).get(key);
  return {
    load: (key) => [...of(key).values()],
    put: (key, name, record) => void of(key).set(name, record),
    remove: (key, name) => void of(key).delete(name),
  };
}

/**
 * IndexedDB; where it is missing or refuses, keys live in memory and onTrouble
 * is told once: a reload then makes a new handshake, and what was sealed for the
 * old keys is lost.
 */
export function indexedDBKeys(idb, onTrouble) {
  const memory = memoryKeys();
  let broken = !idb;
  let opening = null;

  const open = () => (opening ??= request(idb.open(DB, 1), (db) => db.createObjectStore(STORE)));
  const guard = async (work, fallback) => {
    if (!broken) {
      try {
        return await work((await open()).transaction(STORE, 'readwrite'));
      } catch (err) {
        broken = true;
        onTrouble(err);
      }
    }
    return fallback();
  };

  return {
    load: (key) =>
      guard(
        async (tx) => {
          const range = globalThis.IDBKeyRange.bound([key], [key, []]);
          const records = await request(tx.objectStore(STORE).getAll(range));
          for (const r of records) memory.put(key, recordName(r), r);
          return records;
        },
        () => memory.load(key),
      ),
    put: (key, name, record) => {
      memory.put(key, name, record);
      return guard(
        (tx) => putAhead(tx, [key, name], record),
        () => {},
      );
    },
    remove: (key, name) => {
      memory.remove(key, name);
      return guard(
        (tx) => finished(tx, tx.objectStore(STORE).delete([key, name])),
        () => {},
      );
    },
  };
}

// Never takes a key period back: a second tab may have forgotten what is before it.
function putAhead(tx, at, record) {
  const store = tx.objectStore(STORE);
  const get = store.get(at);
  get.onsuccess = () => {
    const old = get.result;
    const ahead = old?.kind === 'keys' && old.made === record.made && old.period > record.period;
    if (!ahead) store.put(record, at);
  };
  return finished(tx);
}

function finished(tx) {
  return new Promise((resolve, reject) => {
    tx.oncomplete = () => resolve();
    tx.onabort = tx.onerror = () => reject(tx.error);
  });
}

function request(req, onUpgrade) {
  return new Promise((resolve, reject) => {
    if (onUpgrade) req.onupgradeneeded = () => onUpgrade(req.result);
    req.onsuccess = () => resolve(req.result);
    req.onerror = () => reject(req.error);
    req.onblocked = () => reject(new Error('key database is blocked'));
  });
}
