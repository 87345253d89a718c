// Marian as WebAssembly, line by line: node bergamot.mjs PACKAGE_DIR MODEL_DIR FROM TO < lines > lines
// Milliseconds of loading (up to the first answer) and of all lines together go to stderr. With ULP_SEED, a number, every
// result of a product of bytes is moved by ULP_STEPS floats (one), up or down at random: how much the answers hang on that.
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
if (process.env.ULP_SEED) {
    const path = join(copy, 'translator-worker.js');
    const parts = readFileSync(path, 'utf8').split('return Object.fromEntries(mapping);');
    if (parts.length !== 2) throw new Error('another translator-worker.js than of version 0.4.9');
    writeFileSync(path, parts.join(`
        const linked = Object.fromEntries(mapping);
        const multiply = linked['int8_multiply_and_add_bias'];
        let state = ${Number(process.env.ULP_SEED)};
        const steps = ${Number(process.env.ULP_STEPS ?? 1)};
        linked['int8_multiply_and_add_bias'] = (...args) => {
            multiply(...args);
            // The last argument is where the results are; the ninth and the eleventh are their rows and columns.
            const results = new Int32Array(info['env']['memory'].buffer, args[11], args[8] * args[10]);
            for (let i = 0; i < results.length; i++) {
                state = (Math.imul(state, 1664525) + 1013904223) | 0;
                // Zeros and all that is close to them stay: less of their magnitude is no number.
                if ((results[i] & 0x7fffffff) > steps) results[i] += (state & 0x800000) ? steps : -steps;
            }
        };
        return linked;`));
}
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
