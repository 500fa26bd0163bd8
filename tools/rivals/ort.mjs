// ONNX Runtime, native (onnxruntime-node) or WebAssembly (onnxruntime-web), on letterboxed pictures.
//
//   node ort.mjs bench PACKAGE THREADS MODEL PICTURE [GOLDEN]   median ms a run, one JSON line
//   node ort.mjs detect PACKAGE THREADS MODEL < LETTERBOXED     the chosen face of each, JSON lines
//
// PICTURE: 640 x 640 x 3 bytes, blue first. GOLDEN: the start of the names of the expected outputs,
// PREFIX.out0.*.f32 and so on. LETTERBOXED: what letterbox.py writes. The packages are looked for
// in the current folder.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';

const SIZE = 640, PIXELS = SIZE * SIZE, WARMUP = 5, RUNS = 40;
const [mode, pack, threads, model, picture, golden] = process.argv.slice(2);
const ort = createRequire(path.join(process.cwd(), 'x.js'))(pack);
if (pack === 'onnxruntime-web') ort.env.wasm.numThreads = +threads;
const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: +threads, executionMode: 'sequential', graphOptimizationLevel: 'all' });
const yunet = /yunet/.test(model);

// Planes, in the order of `planes`; SCRFD wants (x - 127.5) / 128, YuNet the bytes.
function tensor(bytes, planes) {
    const data = new Float32Array(3 * PIXELS);
    planes.forEach((c, k) => {
        for (let i = 0; i < PIXELS; i++)
            data[k * PIXELS + i] = yunet ? bytes[3 * i + c] : (bytes[3 * i + c] - 127.5) / 128;
    });
    return { [session.inputNames[0]]: new ort.Tensor('float32', data, [1, 3, SIZE, SIZE]) };
}

// The largest difference to the golden outputs, relative to each output's largest value.
function difference(outputs) {
    const folder = path.dirname(golden), names = fs.readdirSync(folder);
    return Math.max(...session.outputNames.map((name, i) => {
        const file = names.find(n => n.startsWith(`${path.basename(golden)}.out${i}.`));
        const bytes = fs.readFileSync(path.join(folder, file));
        const want = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
        const got = outputs[name].data, most = want.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
        if (got.length !== want.length) throw new Error(`${file}: ${got.length} values`);
        return got.reduce((m, v, j) => Math.max(m, Math.abs(v - want[j])), 0) / most;
    }));
}

// Seconds of CPU that everybody, and this process, has used.
function cpu() {
    const all = os.cpus().reduce((m, { times: t }) => m + t.user + t.nice + t.sys + t.irq, 0) / 1e3;
    const own = process.cpuUsage();
    return { all, own: (own.user + own.system) / 1e6, at: performance.now() / 1e3 };
}

async function bench() {
    const bytes = fs.readFileSync(picture), feeds = tensor(bytes, yunet ? [0, 1, 2] : [2, 1, 0]);
    const ms = [], load = os.loadavg()[0], before = cpu();
    let outputs;
    for (let i = 0; i < WARMUP + RUNS; i++) {
        const start = performance.now();
        outputs = await session.run(feeds);
        if (i >= WARMUP) ms.push(performance.now() - start);
    }
    const after = cpu(), others = after.all - before.all - (after.own - before.own);
    ms.sort((a, b) => a - b);
    console.log(JSON.stringify({
        runtime: `${pack} ${ort.env.versions.web ?? ort.env.versions.node ?? ort.env.versions.common}`,
        threads: +threads, model: path.basename(model), median_ms: +ms[RUNS >> 1].toFixed(1),
        min_ms: +ms[0].toFixed(1), load_before: load,
        others_cores: +(others / (after.at - before.at)).toFixed(2),
        difference: golden ? difference(outputs) : undefined }));
}

// Outputs: scores, then boxes, then points, of strides 8, 16 and 32; two anchors a cell.
function decode(outputs, scale) {
    const out = session.outputNames.map(n => outputs[n].data), found = [];
    [8, 16, 32].forEach((stride, k) => {
        for (let i = 0; i < out[k].length; i++) {
            if (out[k][i] < 0.5) continue;
            const cell = i >> 1, n = SIZE / stride;
            const x = cell % n * stride, y = Math.floor(cell / n) * stride;
            const box = out[3 + k].subarray(4 * i, 4 * i + 4), kps = out[6 + k].subarray(10 * i, 10 * i + 10);
            found.push({
                score: out[k][i],
                box: [x - box[0] * stride, y - box[1] * stride, x + box[2] * stride, y + box[3] * stride]
                    .map(v => v / scale),
                points5: [0, 1, 2, 3, 4].map(p =>
                    [(x + kps[2 * p] * stride) / scale, (y + kps[2 * p + 1] * stride) / scale]) });
        }
    });
    return found.sort((a, b) => b.score - a.score);
}

function iou(a, b) {
    const area = r => (r[2] - r[0] + 1) * (r[3] - r[1] + 1);
    const w = Math.min(a[2], b[2]) - Math.max(a[0], b[0]) + 1, h = Math.min(a[3], b[3]) - Math.max(a[1], b[1]) + 1;
    const inter = Math.max(0, w) * Math.max(0, h);
    return inter / (area(a) + area(b) - inter);
}

// The largest by whole pixels, of those that are large and upright enough.
function choose(faces) {
    const kept = [];
    let best = null, most = 0;
    for (const f of faces)
        if (kept.every(k => iou(k.box, f.box) <= 0.4)) kept.push(f);
    for (const f of kept) {
        const [x1, y1, x2, y2] = f.box.map(Math.trunc), w = x2 - x1, h = y2 - y1;
        if (w >= 50 && h >= 80 && w / h <= 1.5 && w / h >= 0.2 && w * h > most) [best, most] = [f, w * h];
    }
    return best;
}

async function detect() {
    let frame = 0, header = null, rest = Buffer.alloc(0);
    const round = v => +v.toFixed(3);
    for await (const chunk of process.stdin) {
        rest = Buffer.concat([rest, chunk]);
        if (!header) {
            const end = rest.indexOf('\n');
            if (end < 0) continue;
            header = JSON.parse(rest.subarray(0, end));
            rest = rest.subarray(end + 1);
        }
        for (; rest.length >= 3 * PIXELS; rest = rest.subarray(3 * PIXELS), frame++) {
            const f = choose(decode(await session.run(tensor(rest, [0, 1, 2])), header.scale));
            console.log(JSON.stringify(f ? {
                frame, box: f.box.map(round), score: round(f.score), points5: f.points5.map(p => p.map(round)),
            } : { frame }));
        }
    }
}

await (mode === 'detect' ? detect() : bench());
process.exit(0); // WebAssembly's threads would stay
