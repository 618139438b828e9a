// Builds the server if SUNZI_BIN does not name one, then runs the browser
// tests. `npm run e2e -- --stand-in` runs them against the stand-in instead.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const env = { ...process.env };
const temporary = mkdtempSync(join(tmpdir(), 'sunzi-bin-'));
let status = 0;
if (process.argv.includes('--stand-in')) {
  delete env.SUNZI_BIN;
} else if (!env.SUNZI_BIN) {
  env.SUNZI_BIN = join(temporary, 'sunzi');
  const build = spawnSync('go', ['build', '-o', env.SUNZI_BIN, './cmd/sunzi'], { cwd: join(here, '../../..'), stdio: 'inherit' });
  status = build.status ?? 1;
}
if (status === 0) {
  const tests = ['live.test.mjs', 'library.test.mjs', 'sealed.test.mjs', ...(env.SUNZI_BIN ? ['seal.test.mjs'] : [])].map((f) => join(here, f));
  status = spawnSync(process.execPath, ['--test', '--test-concurrency=1', ...tests], { env, stdio: 'inherit' }).status ?? 1;
}
rmSync(temporary, { recursive: true, force: true });
process.exit(status);
