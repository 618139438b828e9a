// Messages as an async iterator: asking for the next one says that the one
// before is handled.

export function iterate(client, topic, signal) {
  const waiting = []; // messages, each with the function that settles it
  let wanted = null; // the consumer's pending next()
  let settle = null;
  let ended = false;

  const end = () => {
    if (ended) return;
    ended = true;
    remove();
    unwatch();
    signal?.removeEventListener('abort', end);
    settle?.(); // the one in hand counts as handled
    for (const w of waiting.splice(0)) w.settle(); // as if nobody listened
    wanted?.({ value: undefined, done: true });
  };
  const give = () => {
    if (!wanted || waiting.length === 0) return;
    const next = waiting.shift();
    settle = next.settle;
    wanted({ value: next.message, done: false });
    wanted = null;
  };
  const remove = client.on(topic, (message) => new Promise((resolve) => {
    waiting.push({ message, settle: resolve });
    give();
  }));
  const unwatch = client.when('state', (e) => e.to === 'CLOSED' && end());
  signal?.addEventListener('abort', end, { once: true });
  if (signal?.aborted || client.state === 'CLOSED') end();

  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next() {
      settle?.();
      settle = null;
      if (ended) return Promise.resolve({ value: undefined, done: true });
      return new Promise((resolve) => {
        wanted = resolve;
        give();
      });
    },
    return() {
      end();
      return Promise.resolve({ value: undefined, done: true });
    },
  };
}
