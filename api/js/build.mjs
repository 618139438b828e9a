// Bundles src into dist: an ES module, an IIFE with the global Sunzi, and the
// sealing code, which either loads when it is asked for, and its worker too.
// --check writes nothing and fails where dist is not what src builds.
import { build } from 'esbuild';
import { readFile, writeFile, mkdir } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const root = path.dirname(fileURLToPath(import.meta.url));
const dist = path.join(root, 'dist');
const SEAL = 'sunzi-seal.js';
const MAX_GZIP = { 'sunzi.js': 7_700, 'sunzi.iife.js': 8_000, [SEAL]: 9_600 }; // bytes; the core is meant to stay small

async function bundle(format, extra) {
  const result = await build({
    absWorkingDir: root,
    entryPoints: ['src/entry.js'],
    define: { SUNZI_SEAL_FILE: JSON.stringify(`./${SEAL}`) },
    logOverride: { 'empty-import-meta': 'silent' }, // the IIFE has another way, see index.js
    bundle: true,
    minify: true,
    format,
    target: 'es2022',
    charset: 'utf8',
    write: false,
    legalComments: 'none',
    banner: { js: '/* Sunzi browser client, Apache-2.0 */' },
    ...extra,
  });
  return Buffer.from(result.outputFiles[0].contents);
}

const files = {
  'sunzi.js': await bundle('esm'),
  'sunzi.iife.js': await bundle('iife', { globalName: 'Sunzi' }),
  [SEAL]: await bundle('esm', { entryPoints: ['src/seal/entry.js'] }),
  'sunzi.d.ts': await readFile(path.join(root, 'src', 'sunzi.d.ts')),
};

const check = process.argv.includes('--check');
await mkdir(dist, { recursive: true });
for (const [name, bytes] of Object.entries(files)) {
  const target = path.join(dist, name);
  if (check) {
    const old = await readFile(target).catch(() => Buffer.alloc(0));
    if (!old.equals(bytes)) throw new Error(`dist/${name} is not what src builds: run "npm run build"`);
  } else {
    await writeFile(target, bytes);
  }
  const size = gzipSync(bytes, { level: 9 }).length;
  console.log(`${name}: ${bytes.length} bytes, ${size} gzipped`);
  if (size > MAX_GZIP[name]) throw new Error(`${name} is over ${MAX_GZIP[name]} bytes gzipped`);
}
