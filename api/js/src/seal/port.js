// The way to the engine: a worker of this very file, or, where there is none
// (node, a library from another origin, a policy that forbids it), the page's own
// thread. Either way calls are answered in the order in which they were made.

import { Engine } from './engine.js';

const NAME = 'sunzi-seal';
const START_MS = 4_000; // well within the time that a welcome has

/** In the worker. */
export function serve(scope, engine = new Engine()) {
  const call = inOrder(engine);
  scope.onmessage = ({ data: { n, op, args } }) => {
    call(op, args).then(
      (value) => scope.postMessage({ n, value }),
      (error) => scope.postMessage({ n, error: error?.message ?? String(error) }),
    );
  };
  scope.postMessage({ n: 0 });
}

export const isWorker = (scope) => scope.name === NAME && typeof scope.DedicatedWorkerGlobalScope === 'function';

/** Answers { call(op, ...args), close() }; lost is called if the worker dies. */
export async function connect(platform, url, lost) {
  const worker = await start(platform, url);
  if (!worker) {
    const call = inOrder(new Engine());
    return { call: (op, ...args) => call(op, args), close() {} };
  }
  const calls = new Map();
  let last = 0;
  const end = (why) => {
    worker.terminate();
    for (const { reject } of calls.values()) reject(why);
    calls.clear();
  };
  worker.onmessage = ({ data: { n, value, error } }) => {
    const { resolve, reject } = calls.get(n);
    calls.delete(n);
    if (error === undefined) resolve(value);
    else reject(new Error(error));
  };
  worker.onerror = (e) => {
    e.preventDefault?.();
    const why = new Error(`sunzi: the sealing worker died: ${e.message}`);
    lost(why);
    end(why);
  };
  return {
    call: (op, ...args) => new Promise((resolve, reject) => {
      calls.set(++last, { resolve, reject });
      worker.postMessage({ n: last, op, args });
    }),
    close: () => end(new Error('sunzi: closed')),
  };
}

// A worker that said that it runs, or null.
function start({ Worker, trustedTypes, setTimeout, clearTimeout }, url) {
  if (!Worker) return null;
  return new Promise((resolve) => {
    let worker = null;
    const settle = (w) => {
      clearTimeout(timer);
      if (w === null) worker?.terminate();
      resolve(w);
    };
    const timer = setTimeout(() => settle(null), START_MS);
    try {
      // Pages may require trusted types; the address is the library's own.
      const policy = trustedTypes?.createPolicy('sunzi', { createScriptURL: (s) => s });
      worker = new Worker(policy ? policy.createScriptURL(url) : url, { type: 'module', name: NAME });
    } catch {
      return settle(null);
    }
    worker.onmessage = () => settle(worker);
    worker.onerror = (e) => {
      e.preventDefault?.();
      settle(null);
    };
  });
}

function inOrder(engine) {
  let tail = Promise.resolve();
  return (op, args) => {
    const result = tail.then(() => engine[op](...args));
    tail = result.catch(() => {});
    return result;
  };
}
