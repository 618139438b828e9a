// Where the cursor is kept between visits: {incarnation, seq} by key. A store
// is any object with load(key) and save(key, cursor); both may be async.

const DB = 'sunzi';
const STORE = 'cursors';

/** Forgotten with the page. */
export function memoryCursors() {
  const kept = new Map();
  return {
    load: (key) => kept.get(key) ?? null,
    save: (key, cursor) => void kept.set(key, cursor),
  };
}

/**
 * IndexedDB; where it is missing or refuses (private windows, a full disk) the
 * cursor lives in memory and onTrouble is told once: the server's own cursor
 * still holds, only a crash between handler and ack repeats more.
 */
export function indexedDBCursors(idb, onTrouble) {
  const memory = memoryCursors();
  let broken = !idb;
  let opening = null;

  const open = () => (opening ??= request(idb.open(DB, 1), (db) => db.createObjectStore(STORE)));
  const guard = async (work, fallback) => {
    if (!broken) {
      try {
        return await work(await open());
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
        (db) => request(db.transaction(STORE).objectStore(STORE).get(key)).then((v) => v ?? null),
        () => memory.load(key),
      ),
    save: (key, cursor) => {
      memory.save(key, cursor);
      return guard(
        (db) => advance(db, key, cursor),
        () => {},
      );
    },
  };
}

// advance never takes a cursor back: a second tab may be ahead.
function advance(db, key, cursor) {
  return new Promise((resolve, reject) => {
    const tx = db.transaction(STORE, 'readwrite');
    const store = tx.objectStore(STORE);
    const get = store.get(key);
    get.onsuccess = () => {
      const old = get.result;
      const ahead = old?.incarnation === cursor.incarnation && BigInt(old.seq) > BigInt(cursor.seq);
      if (!ahead) store.put(cursor, key);
    };
    tx.oncomplete = () => resolve();
    tx.onabort = tx.onerror = () => reject(tx.error);
  });
}

function request(req, onUpgrade) {
  return new Promise((resolve, reject) => {
    if (onUpgrade) req.onupgradeneeded = () => onUpgrade(req.result);
    req.onsuccess = () => resolve(req.result);
    req.onerror = () => reject(req.error);
    req.onblocked = () => reject(new Error('cursor database is blocked'));
  });
}
