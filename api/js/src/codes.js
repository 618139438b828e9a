// Close codes by range, as in api/wire/SPEC.md section 7: a client acts on the
// range alone, so that a code invented later is still obeyed.

export const UNAUTHORIZED = 4001;
export const TOKEN_EXPIRED = 4003;
export const REPLACED = 4007;
export const HELLO_TIMEOUT = 4106;
export const DRAINING = 4200;
export const NORMAL = 1000;
export const COMING_BACK = 4900; // the client's own: it leaves a connection to make a new one

/** What to do after a close: 'never', 'now' or 'backoff'. */
export function advice(code) {
  if (code >= 4000 && code < 4100) return 'never';
  if (code >= 4200 && code < 4300) return 'now';
  return 'backoff'; // 1000, 1001, 1006 …: mobile networks end connections with any of them
}
