// Marian as WebAssembly, line by line: node bergamot.mjs PACKAGE_DIR MODEL_DIR FROM TO < lines > lines
// Milliseconds of loading (up to the first answer) and of all lines together go to stderr.
import { Worker } from 'node:worker_threads';
import { cpSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [packageDir, modelDir, from, to] = process.argv.slice(2);
const files = readdirSync(modelDir);
function read(pattern) {
    const bytes = readFileSync(join(modelDir, files.find(name => pattern.test(name))));
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}
// The package says that it is a module, its worker is a script: a copy says so.
const copy = mkdtempSync(join(tmpdir(), 'bergamot-'));
cpSync(join(packageDir, 'worker'), copy, { recursive: true });
writeFileSync(join(copy, 'package.json'), '{"type":"commonjs"}');
const worker = new Worker(join(copy, 'translator-worker.js'));
const waiting = new Map();
let calls = 0;
worker.on('message', ({ id, result, error }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(error); else resolve(result);
});
worker.on('error', error => { throw error; });
const call = (name, ...args) => new Promise((resolve, reject) => {
    waiting.set(++calls, { resolve, reject });
    worker.postMessage({ id: calls, name, args });
});
const translate = async text => {
    const [answer] = await call('translate', { models: [{ from, to }], texts: [{ text, html: false, qualityScores: false }] });
    return answer.target.text.replace(/\n/g, ' ');
};
const lines = readFileSync(0, 'utf8').replace(/\n$/, '').split('\n');
const start = performance.now();
await call('initialize', { cacheSize: 0 });
await call('loadTranslationModel', { from, to }, {
    model: read(/^model.*bin$/), shortlist: read(/^lex.*bin$/), vocabs: [read(/^vocab.*spm$/)], config: {},
});
await translate(lines[0]);
const loaded = performance.now();
for (const line of lines) console.log(await translate(line));
console.error(`${(loaded - start).toFixed(1)} ${(performance.now() - loaded).toFixed(1)}`);
process.exit(0);
