// What dist/sunzi-seal.js is: loaded by a page that asks for sealing, and by the
// worker that the page makes of the same file.

import { isWorker, serve } from './port.js';

export { Sealing } from './sealing.js';

if (isWorker(globalThis)) serve(globalThis);
