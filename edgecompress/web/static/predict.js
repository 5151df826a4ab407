// Text to labels as edgecompress.runtime does it in Python: the same words, the same tokens, the same first sub-token
// of each word, spans joined as conlleval joins them. Nothing here touches the page, so it also runs in tests.

// What stands in a tokenizer's settings, and its token that is only the space before a word. Where it does not work on
// bytes, Ġ is a letter of Maltese.
const BLANKS = Object.entries({ '"ByteLevel"': "Ġ", "▁": "▁" });

/** One share a label; they sum to one. */
export function softmax(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** Words with their places in `text`. */
export function splitWords(pattern, text) {
  return Array.from(text.matchAll(pattern), (match) => ({
    text: match[0], start: match.index, end: match.index + match[0].length,
  }));
}

/**
 * Token ids of `words` joined by single spaces, in windows of at most `maxLength`, and in each where the first sub-token
 * of the words is that are read there (-1: elsewhere, or nowhere).
 *
 * The tokenizer tells no places. Each word is therefore also tokenized alone, after the space that precedes it, and the
 * parts one after another must be the tokens of the whole: then they say exactly where each word begins.
 */
export function encodeWindows(tokenizer, words, maxLength) {
  const parts = words.map((word) => word.replace(/\p{Cs}/gu, "\ufffd"));
  const text = parts.join(" ");
  const plain = (given) => tokenizer.encode(given, { add_special_tokens: false }).ids;
  const whole = plain(text);
  const ids = tokenizer.encode(text).ids;
  const head = headLength(ids, whole);
  const [before, after] = [ids.slice(0, head), ids.slice(head + whole.length)];
  const first = firstTokens(parts, whole, plain, blank(tokenizer));
  const room = maxLength - before.length - after.length;
  const starts = windowStarts(whole.length, room);
  const size = Math.min(room, whole.length);
  const owner = first.map((at) => nearest(starts, size, at));
  return starts.map((start, number) => ({
    ids: [...before, ...whole.slice(start, start + size), ...after],
    first: first.map((at, word) => (at < 0 || owner[word] !== number ? -1 : head + at - start)),
  }));
}

/** Neighbouring windows share a quarter of their tokens, and the last one ends with the text. */
function windowStarts(count, room) {
  const starts = [];
  for (let start = 0; start < count - room; start += Math.max(1, room - Math.floor(room / 4))) starts.push(start);
  return [...starts, Math.max(0, count - room)];
}

/** Windows are equally long, so the one whose centre is nearest gives a word the most context. */
function nearest(starts, size, at) {
  const distances = starts.map((start) => Math.abs(start + (size - 1) / 2 - at));
  return distances.indexOf(Math.min(...distances));
}

function headLength(ids, whole) {
  for (let head = 0; head <= ids.length - whole.length; head += 1) {
    if (whole.every((id, index) => ids[head + index] === id)) return head;
  }
  throw new Error("The tokenizer changes a text's tokens when it adds its special ones.");
}

function blank(tokenizer) {
  const { pre_tokenizer: before, normalizer } = tokenizer.tokenizer;
  for (const part of [before, normalizer]) {
    const written = JSON.stringify(part ?? null);
    const found = BLANKS.find(([sign]) => written.includes(sign));
    if (found) return tokenizer.token_to_id(found[1]);
  }
  return undefined;
}

// Lone blanks are left out of the comparison: a word of invisible characters is a space to the tokenizer, and
// neighbouring spaces are one.
function firstTokens(parts, whole, plain, lone) {
  const tokens = parts.map((part, index) => plain(index ? ` ${part}` : part).filter((id) => id !== lone));
  const places = [...whole.keys()].filter((at) => whole[at] !== lone);
  const joined = tokens.flat();
  if (joined.length !== places.length || joined.some((id, index) => id !== whole[places[index]])) {
    throw new Error("This text's words cannot be found again among its tokens here; the Python predictor can.");
  }
  let before = 0;
  return tokens.map((ids) => {
    const at = ids.length ? places[before] : -1;
    before += ids.length;
    return at;
  });
}

/** Neighbouring words of one type: an I- that continues no span of its type begins one. */
export function joinSpans(text, words) {
  const spans = [];
  let kind = "";
  let begin = 0;
  [...words.map((word) => word.tag), "O"].forEach((tag, index) => {
    const cut = tag.indexOf("-");
    const [prefix, type] = cut < 0 ? [tag, ""] : [tag.slice(0, cut), tag.slice(cut + 1)];
    if (kind && (prefix !== "I" || type !== kind)) {
      spans.push(spanOf(text, kind, words.slice(begin, index)));
      kind = "";
    }
    if (!kind && type) [kind, begin] = [type, index];
  });
  return spans;
}

function spanOf(text, label, words) {
  const [start, end] = [words[0].start, words.at(-1).end];
  const probability = words.reduce((sum, word) => sum + word.probability, 0) / words.length;
  return { label, text: text.slice(start, end), probability, start, end };
}

/** A function from text to a prediction. `run` takes ids and gives the logits of one text, one after another. */
export function predictor(site, tokenizer, run) {
  const pattern = site.kind === "token" ? new RegExp(site.word_pattern, "gv") : null;
  const count = site.labels.length;

  async function shares(ids) {
    const values = Array.from(await run(ids.length ? ids : [site.pad_id]));
    if (!values.every(Number.isFinite)) throw new Error("The model gave values that are not numbers.");
    return Array.from({ length: values.length / count }, (_, at) => softmax(values.slice(at * count, (at + 1) * count)));
  }

  function best(probabilities) {
    const index = probabilities.indexOf(Math.max(...probabilities));
    return { label: site.labels[index], probability: probabilities[index] };
  }

  async function label(text) {
    const windows = encodeWindows(tokenizer, [text], site.max_length);
    const weight = windows.reduce((sum, { ids }) => sum + (ids.length || 1), 0);
    const probabilities = new Array(count).fill(0);
    for (const { ids } of windows) {
      const [own] = await shares(ids);
      own.forEach((share, index) => { probabilities[index] += (share * (ids.length || 1)) / weight; });
    }
    return { ...best(probabilities), probabilities, ...sizes(windows) };
  }

  async function tag(text) {
    const words = splitWords(pattern, text).map((word) => ({ ...word, tag: site.unseen, probability: 0 }));
    const windows = words.length ? encodeWindows(tokenizer, words.map((word) => word.text), site.max_length) : [];
    for (const { ids, first } of windows) {
      const all = await shares(ids);
      first.forEach((at, word) => {
        if (at < 0) return;
        const { label: tagged, probability } = best(all[at]);
        Object.assign(words[word], { tag: tagged, probability });
      });
    }
    return { words, spans: site.spans ? joinSpans(text, words) : [], ...sizes(windows) };
  }

  return site.kind === "text" ? label : tag;
}

const sizes = (windows) => ({
  windows: Math.max(1, windows.length), tokens: windows.reduce((sum, { ids }) => sum + ids.length, 0),
});
