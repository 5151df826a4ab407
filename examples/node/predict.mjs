// Label or tag texts with an artifact in Node.js: node predict.mjs ARTIFACT TEXT…
// predict.js, which the page of `edgecompress export-web` runs, turns text to ids and logits to labels.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { predictor } from "../../edgecompress/web/static/predict.js";

process.env.ORT_DISABLE_TELEMETRY = "1"; // else onnxruntime reports its use to its maker
const ort = await import("onnxruntime-node");

const WORDS = new URL("../words.json", import.meta.url);
const TOKEN_TASKS = { ner: true, pos: false }; // true: the tags join to spans
const readJson = async (path) => JSON.parse(await readFile(path, "utf8"));

/** What predict.js wants to know of an artifact. */
async function describe(about) {
  const patterns = await readJson(WORDS);
  const kind = about.task in TOKEN_TASKS ? "token" : "text";
  const spans = TOKEN_TASKS[about.task] ?? false;
  if (kind === "token" && !(about.word_pattern in patterns)) {
    throw new Error("words.json lacks this artifact's word_pattern: add it, see examples/README.md");
  }
  const other = about.labels.includes("X") ? "X" : about.labels[0];
  return { ...about, kind, spans, unseen: spans ? "O" : other, word_pattern: patterns[about.word_pattern] };
}

async function open(folder) {
  const about = await readJson(join(folder, "edgecompress-artifact.json"));
  const tokenizer = new Tokenizer(await readJson(join(folder, "tokenizer.json")), {});
  const session = await ort.InferenceSession.create(join(folder, about.model_file));
  const run = async (ids) => {
    const tensor = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);
    const given = { input_ids: tensor(ids), attention_mask: tensor(ids.map(() => 1)) };
    const feed = Object.fromEntries(session.inputNames.map((name) => [name, given[name]]));
    return (await session.run(feed)).logits.data;
  };
  return predictor(await describe(about), tokenizer, run);
}

const [folder, ...texts] = process.argv.slice(2);
try {
  const predict = await open(folder);
  for (const text of texts) {
    const { label, probability, words, windows } = await predict(text);
    const tagged = words?.map(({ text: word, tag, probability: share }) => ({ text: word, tag, probability: share }));
    console.log(JSON.stringify({ text, label, probability, words: tagged, windows }));
  }
} catch (error) {
  console.error(`${folder}: ${error.message}`);
  process.exitCode = 1;
}
