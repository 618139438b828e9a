// What the browser tells of itself. Mobile browsers drop sockets without a
// word while a page is hidden, and a page restored from the back-forward cache
// fires nothing but pageshow: each is a moment to look at the connection.

/** Calls wake, offline and leave; answers the function that stops it. */
export function watch({ window, document }, { wake, offline, leave }) {
  const visible = () => document.visibilityState === 'visible' && wake();
  const listeners = [
    [document, 'visibilitychange', visible],
    [window, 'pageshow', (e) => e.persisted && wake()],
    [window, 'online', wake],
    [window, 'offline', offline],
    [window, 'pagehide', leave],
  ].filter(([target]) => target);
  for (const [target, type, fn] of listeners) target.addEventListener(type, fn);
  return () => {
    for (const [target, type, fn] of listeners) target.removeEventListener(type, fn);
  };
}
