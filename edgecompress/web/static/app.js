// The page: loads the model with a progress bar, then predicts while one types. No text leaves the browser.

const PAUSE = 150; // ms without a key before a prediction
const MOST_THREADS = 4;
const WARM = 3;
const LARGE = (site) => ["ort.wasm", site.model, "tokenizer.json"].map((name) => site.files[name]);
const at = (id) => document.getElementById(id);
const url = (path) => new URL(path, document.baseURI).href;
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)}\u00a0MB`;
const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function fail(error) {
  at("loading").hidden = true;
  at("problem").textContent = error.message || String(error);
  at("problem").hidden = false;
}

function checkBrowser() {
  if (typeof WebAssembly !== "object") {
    throw new Error("This browser has no WebAssembly, or it is switched off (some do so in a lockdown mode). The model "
      + "needs it: switch it on for this page, or use a current Firefox, Chrome, Edge or Safari.");
  }
  try {
    new RegExp("", "v");
  } catch {
    throw new Error("This browser is too old for the page: use Firefox 116, Chrome 112, Edge 112, Safari 17 or newer.");
  }
}

// For the next visit, and only once a first result stands there: what was loaded is laid where the worker looks before
// it asks the network, so that the large files travel once. Without a worker the page works, too.
async function keep(site, large) {
  if (!navigator.serviceWorker || !globalThis.caches) return;
  try {
    if (!(await navigator.serviceWorker.getRegistration())) {
      const cache = await caches.open(`edgecompress ${url("./")} loaded`); // the worker removes it when it has all
      await Promise.all(LARGE(site).map(({ path }, index) => cache.put(url(path), new Response(large[index]))));
    }
    const claimed = new Promise((done) => {
      navigator.serviceWorker.addEventListener("controllerchange", done, { once: true });
    });
    await navigator.serviceWorker.register("sw.js");
    if (!navigator.serviceWorker.controller) await claimed; // never, where a visitor went past the worker
    await tellKept(site);
  } catch (error) {
    console.warn("The page cannot be kept for use without a network:", error);
  }
}

function watchUpdates() {
  if (!navigator.serviceWorker?.controller) return;
  navigator.serviceWorker.addEventListener("controllerchange", () => { at("renewed").hidden = false; });
  at("reload").addEventListener("click", () => location.reload());
}

async function load(path) {
  const response = await fetch(url(path));
  if (!response.ok) {
    throw new Error(`${path} could not be loaded (${response.status}): reload the page, it may have been renewed.`);
  }
  return response;
}

// The bytes of a file of known size, piece by piece, so that the bar moves.
async function loadLarge({ path, bytes }, progress) {
  const reader = (await load(path)).body.getReader();
  const content = new Uint8Array(bytes);
  let done = 0;
  for (;;) {
    const piece = await reader.read();
    if (piece.done) break;
    if (done + piece.value.length > bytes) throw new Error(`${path} is larger than it should be: reload the page.`);
    content.set(piece.value, done);
    done += piece.value.length;
    progress(piece.value.length);
  }
  if (done !== bytes) throw new Error(`${path} broke off after ${megabytes(done)}: reload the page.`);
  return content;
}

async function loadAll(site) {
  const large = LARGE(site);
  const total = large.reduce((sum, file) => sum + file.bytes, 0);
  let done = 0;
  const progress = (bytes) => {
    done += bytes;
    at("progress").value = done / total;
    at("stage").textContent = `Loading the model: ${megabytes(done)} of ${megabytes(total)}`;
    at("loading").classList.add("moves");
  };
  return Promise.all(large.map((file) => loadLarge(file, progress)));
}

async function open(site, loading) {
  const modules = ["ort.mjs", "tokenizers.mjs", "predict.js"].map((name) => import(url(site.files[name].path)));
  const [[wasm, model, tokenizerJson], [ort, { Tokenizer }, { predictor }]] = await Promise.all([
    loading, Promise.all(modules),
  ]);
  at("stage").textContent = "Starting the model";
  ort.env.wasm.wasmBinary = wasm;
  // threads share memory, which browsers allow only where the server sends the headers for it
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(model, { graphOptimizationLevel: "all" });
  const tokenizer = new Tokenizer(JSON.parse(new TextDecoder().decode(tokenizerJson)), {});
  return predictor(site, tokenizer, async (ids) => {
    const shape = [1, ids.length];
    const feeds = {
      input_ids: new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), shape),
      attention_mask: new ort.Tensor("int64", new BigInt64Array(ids.length).fill(1n), shape),
    };
    for (const name of Object.keys(feeds)) if (!session.inputNames.includes(name)) delete feeds[name];
    return (await session.run(feeds, ["logits"])).logits.data;
  });
}

function bars(site, { probabilities, label }) {
  const rows = site.labels.map((name, index) => [name, probabilities[index]]).sort((a, b) => b[1] - a[1]);
  return make("ol", { class: "bars" }, ...rows.map(([name, share]) => {
    const fill = make("span", { class: "fill" });
    fill.style.width = `${100 * share}%`;
    const first = name === label ? " first" : "";
    return make("li", {}, make("span", { class: `name${first}` }, name),
      make("span", { class: `bar${first}`, "aria-hidden": "true" }, fill),
      make("span", { class: `share${first}` }, percent(share)));
  }));
}

const COLOURS = 8;
// Universal Dependencies has more tags than there are colours to tell apart: one colour a family.
const FAMILIES = [["NOUN", "PROPN", "PRON"], ["VERB", "AUX"], ["ADJ", "ADV"], ["DET", "NUM"], ["ADP", "CCONJ", "SCONJ", "PART"]];

function colour(site, kind) {
  const family = FAMILIES.findIndex((tags) => tags.includes(kind));
  if (!site.spans) return String(family < 0 ? COLOURS - 1 : family);
  const kinds = [...new Set(site.labels.map((label) => label.slice(label.indexOf("-") + 1)))].filter((one) => one !== "O");
  return String(Math.max(kinds.indexOf(kind), 0) % COLOURS);
}

function highlighted(site, text, spans) {
  const line = make("p", { class: "text" });
  let end = 0;
  for (const span of spans) {
    line.append(text.slice(end, span.start), make("mark", { "data-c": colour(site, span.label) }, span.text,
      make("span", { class: "type" }, span.label)));
    end = span.end;
  }
  line.append(text.slice(end));
  return line;
}

function spanTable(site, spans) {
  const head = make("tr", {}, ...["Name", "Type", "Probability"].map((title) => make("th", { scope: "col", lang: "en" }, title)));
  const rows = spans.map((span) => make("tr", {}, make("td", {}, span.text),
    make("td", { class: "kind" }, make("span", { class: "dot", "data-c": colour(site, span.label) }), span.label),
    make("td", {}, percent(span.probability))));
  return make("table", { class: "spans" }, make("thead", {}, head), make("tbody", {}, ...rows));
}

function tags(site, words) {
  return make("ol", { class: "tags" }, ...words.map((word) => make("li", {
    class: word.probability < 0.5 ? "unsure" : "sure", title: percent(word.probability),
  }, make("span", { class: "word" }, word.text), make("span", { class: "tag", "data-c": colour(site, word.tag) }, word.tag))));
}

function shown(site, text, found) {
  if (site.kind === "text") return [bars(site, found)];
  if (!site.spans) return [tags(site, found.words)];
  return [highlighted(site, text, found.spans), ...(found.spans.length ? [spanTable(site, found.spans)] : [])];
}

function sentence(site, found) {
  if (site.kind === "text") return `${found.label}, ${percent(found.probability)}`;
  if (!site.spans) return found.words.map((word) => `${word.text} ${word.tag}`).join(", ");
  return found.spans.map((span) => `${span.text}: ${span.label}`).join(", ") || "No name found";
}

function show(site, text, found, milliseconds) {
  at("result").replaceChildren(...shown(site, text, found));
  at("said").textContent = sentence(site, found);
  const none = site.spans && !found.spans.length ? "No name found · " : "";
  const parts = found.windows > 1 ? `, read in ${found.windows} overlapping parts` : "";
  at("time").textContent = `${none}${milliseconds.toFixed(1)} ms for ${found.tokens} tokens${parts}`;
}

function showNothing(site) {
  const what = site.kind === "text" ? "its label" : site.spans ? "the names in it" : "its words' tags";
  at("result").replaceChildren(make("p", { class: "empty", lang: "en", dir: "ltr" }, `Type a text to see ${what}.`));
  at("said").textContent = "";
  at("time").textContent = "";
}

// One prediction at a time; what was typed meanwhile comes next, and only the last of it.
function follow(site, predict) {
  let wanted = null;
  let busy = false;
  return async (text) => {
    wanted = text;
    if (busy) return;
    busy = true;
    while (wanted !== null) {
      const given = wanted;
      wanted = null;
      try {
        const begin = performance.now();
        const found = given.trim() ? await predict(given) : null;
        at("problem").hidden = true;
        if (found) show(site, given, found, performance.now() - begin);
        else showNothing(site);
      } catch (error) {
        fail(error);
      }
    }
    busy = false;
  };
}

function offerExamples(site, choose) {
  at("examples").hidden = !site.examples.length;
  for (const example of site.examples) {
    const button = make("button", { type: "button", lang: site.language, dir: "auto" }, example);
    button.addEventListener("click", () => choose(example));
    at("examples").append(button);
  }
}

function start(site, predict) {
  const update = follow(site, predict);
  let timer = 0;
  at("text").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => update(at("text").value), PAUSE);
  });
  const choose = (text) => {
    clearTimeout(timer);
    at("text").value = text;
    return update(text);
  };
  offerExamples(site, choose);
  at("loading").hidden = true;
  at("tool").hidden = false;
  const first = choose(at("text").value || site.examples[0] || "");
  // on a phone this would open the keyboard over the result
  if (matchMedia("(hover: hover)").matches) at("text").focus({ preventScroll: true });
  return first;
}

async function tellKept(site) {
  const kept = await Promise.all(Object.values(site.files).map((file) => caches.match(url(file.path))));
  at("kept").hidden = !kept.every(Boolean);
}

async function main() {
  checkBrowser();
  const site = await (await load(document.querySelector("meta[name=site]").content)).json();
  const facts = [megabytes(site.files[site.model].bytes), `${(site.parameters / 1e6).toFixed(1)} M parameters`, site.scheme,
    `${site.labels.length} labels`];
  at("facts").replaceChildren(...facts.flatMap((fact) => [make("span", {}, fact), " "]));
  watchUpdates();
  const loading = loadAll(site);
  const predict = await open(site, loading);
  // the first runs also plan memory and compile: not times to show
  for (let run = 0; run < WARM; run += 1) await predict(site.examples[0] || "a");
  globalThis.edgecompress = { site, predict }; // for tests, and for the curious in the console
  await start(site, predict);
  await keep(site, await loading);
}

main().catch(fail);
