"use strict";
const $ = id => document.getElementById(id);
const make = (tag, text, name) => { const one = document.createElement(tag); one.textContent = text ?? ""; if (name) one.className = name; return one; };
const share = number => number.toFixed(3);

async function ask(path, body) {
  const headers = {};
  if ($("token").value) headers.Authorization = "Bearer " + $("token").value;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  const data = await answer.json();
  if (answer.status === 401) $("guard").hidden = false;
  if (!answer.ok) throw new Error(data.error.message);
  return data;
}

let loaded = false;
async function models() {
  const { models } = await ask("v1/models");
  const chosen = $("model").value;
  $("model").replaceChildren(...models.map(one => { const option = make("option", `${one.name} (${one.task ?? Object.keys(one.heads).join(", ")})`); option.value = one.name; return option; }));
  if (models.some(one => one.name === chosen)) $("model").value = chosen;
  loaded = true;
}

function labels(found) {
  const rows = Object.entries(found.probabilities).sort((a, b) => b[1] - a[1]);
  return rows.map(([label, probability]) => {
    const row = make("div", "", "row"), bar = make("i");
    bar.style.width = `${100 * probability}%`;
    row.append(bar, make("span", label), make("span", share(probability)));
    return row;
  });
}

// Places count characters (code points); JavaScript's strings count UTF-16 units.
function spans(text, found) {
  const points = [...text], box = make("div", "", "text");
  let at = 0;
  for (const span of found.spans) {
    box.append(points.slice(at, span.start).join(""));
    const mark = make("mark", span.text);
    mark.title = share(span.probability);
    mark.append(make("small", span.label));
    box.append(mark);
    at = span.end;
  }
  box.append(points.slice(at).join(""));
  return box;
}

function words(found) {
  const table = make("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  for (const title of ["word", "tag", "probability"]) head.append(make("th", title, title === "probability" ? "number" : ""));
  for (const word of found.words) {
    const row = body.insertRow();
    row.append(make("td", word.text), make("td", word.tag), make("td", share(word.probability), "number"));
  }
  const scroll = make("div", "", "scroll");
  scroll.append(table);
  return scroll;
}

function show(text, found) {
  const ofHead = ([name, one]) => [make("h2", name), ...shown(text, one)];
  $("result").replaceChildren(...(found.heads ? Object.entries(found.heads).flatMap(ofHead) : shown(text, found)));
}

function shown(text, found) {
  const parts = found.probabilities ? labels(found) : found.spans.length ? [spans(text, found), words(found)] : [words(found)];
  if (found.truncated) parts.push(make("p", `The last ${found.truncated} tokens were cut off: the model reads no more.`, "soft"));
  if (found.windows > 1) parts.push(make("p", `A long text: it was read in ${found.windows} windows.`, "soft"));
  return parts;
}

const complain = error => $("result").replaceChildren(make("p", error.message, "bad"));

$("form").addEventListener("submit", async event => {
  event.preventDefault();
  $("go").disabled = true;
  try {
    if (!loaded) await models();
    const text = $("text").value, begin = performance.now();
    const { predictions } = await ask("v1/predict", { model: $("model").value, text });
    const took = performance.now() - begin;
    show(text, predictions[0]);
    $("result").append(make("p", `${took.toFixed(1)} ms, the way to the server included`, "soft"));
  } catch (error) { complain(error); }
  $("go").disabled = false;
});
models().catch(complain);
