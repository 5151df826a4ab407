//! Label or tag texts with an artifact: ORT_DYLIB_PATH=…/libonnxruntime.so predict ARTIFACT TEXT…

use std::{env, error::Error, fs, path::Path, process::ExitCode};

use fancy_regex::Regex;
use ort::{session::Session, session::SessionInputValue, value::Tensor};
use serde_json::{Value, json};
use tokenizers::{Encoding, Tokenizer, TruncationParams};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const WORDS: &str = include_str!("../../words.json");

struct Predictor {
    labels: Vec<String>,
    pad_id: u32,
    words: Option<Regex>,
    space: Option<u32>,
    tokenizer: Tokenizer,
    session: Session,
}

/// The token that is only the space before a word. Where a tokenizer does not work on bytes, Ġ is a letter of Maltese.
fn space(tokenizer: &Tokenizer) -> Outcome<Option<u32>> {
    let before = serde_json::to_string(&tokenizer.get_pre_tokenizer())?;
    let settings = before + &serde_json::to_string(&tokenizer.get_normalizer())?;
    let signs = [("\"ByteLevel\"", "Ġ"), ("▁", "▁")];
    let found = signs.into_iter().find(|(sign, _)| settings.contains(sign));
    Ok(found.and_then(|(_, mark)| tokenizer.token_to_id(mark)))
}

impl Predictor {
    fn open(folder: &Path) -> Outcome<Self> {
        let about: Value = serde_json::from_slice(&fs::read(folder.join("edgecompress-artifact.json"))?)?;
        let most = about["max_length"].as_u64().ok_or("max_length is missing")? as usize;
        let mut tokenizer = Tokenizer::from_file(folder.join("tokenizer.json"))?;
        let cut = TruncationParams { max_length: most, ..Default::default() };
        tokenizer.with_padding(None).with_truncation(Some(cut))?;
        let file = about["model_file"].as_str().ok_or("model_file is missing")?;
        Ok(Self {
            labels: serde_json::from_value(about["labels"].clone())?,
            pad_id: about["pad_id"].as_u64().unwrap_or(0) as u32,
            words: about["word_pattern"].as_str().map(word_pattern).transpose()?,
            space: space(&tokenizer)?,
            tokenizer,
            session: Session::builder()?.commit_from_file(folder.join(file))?,
        })
    }

    fn predict(&mut self, text: &str) -> Outcome<Value> {
        match self.words.take() {
            None => self.label(text),
            Some(pattern) => {
                let found = pattern.find_iter(text).map(|word| word.map(|one| one.as_str()));
                let words = found.collect::<Result<Vec<_>, _>>();
                self.words = Some(pattern);
                self.tag(text, &words?)
            }
        }
    }

    fn label(&mut self, text: &str) -> Outcome<Value> {
        let encoding = self.tokenizer.encode(text, true)?;
        let (best, share) = self.shares(&encoding)?.swap_remove(0);
        let cut = !encoding.get_overflowing().is_empty();
        Ok(json!({"text": text, "label": self.labels[best], "probability": share, "cut": cut}))
    }

    /// A word's tag is read at the first token whose place overlaps the word's in the words joined by spaces.
    fn tag(&mut self, text: &str, words: &[&str]) -> Outcome<Value> {
        let encoding = self.tokenizer.encode(words.join(" "), true)?;
        let shares = self.shares(&encoding)?;
        let unseen = ["O", "X"].into_iter().find(|tag| self.labels.iter().any(|label| label == tag));
        let unseen = unseen.unwrap_or(&self.labels[0]);
        let mut start = 0;
        let mut tagged = Vec::new();
        for word in words {
            let end = start + word.len();
            let places = encoding.get_ids().iter().zip(encoding.get_offsets());
            let first = places
                .enumerate()
                .find(|(_, (id, (begin, stop)))| self.space != Some(**id) && *begin < end && start < *stop);
            let (tag, share) = match first {
                Some((at, _)) => (self.labels[shares[at].0].as_str(), shares[at].1),
                None => (unseen, 0.0),
            };
            tagged.push(json!({"text": word, "tag": tag, "probability": share}));
            start = end + 1;
        }
        Ok(json!({"text": text, "words": tagged, "cut": !encoding.get_overflowing().is_empty()}))
    }

    /// The best label and its probability: of the text, or of each token.
    fn shares(&mut self, encoding: &Encoding) -> Outcome<Vec<(usize, f32)>> {
        let mut ids: Vec<i64> = encoding.get_ids().iter().map(|&id| id.into()).collect();
        if ids.is_empty() {
            ids.push(self.pad_id.into()); // a graph cannot run on nothing
        }
        let shape = [1, ids.len()];
        let mut feed = Vec::new();
        for input in self.session.inputs() {
            let values = if input.name() == "input_ids" { ids.clone() } else { vec![1; ids.len()] };
            let tensor = SessionInputValue::from(Tensor::from_array((shape, values))?);
            feed.push((input.name().to_owned(), tensor));
        }
        let found = self.session.run(feed)?;
        let (_, logits) = found["logits"].try_extract_tensor::<f32>()?;
        Ok(logits.chunks(self.labels.len()).map(best).collect())
    }
}

fn best(logits: &[f32]) -> (usize, f32) {
    let (mut at, mut most) = (0, f32::NEG_INFINITY);
    for (index, &logit) in logits.iter().enumerate() {
        if logit > most {
            (at, most) = (index, logit);
        }
    }
    (at, 1.0 / logits.iter().map(|logit| (logit - most).exp()).sum::<f32>())
}

/// An artifact's word_pattern is Python's; words.json has it as this crate and JavaScript write it.
fn word_pattern(python: &str) -> Outcome<Regex> {
    let known: Value = serde_json::from_str(WORDS)?;
    let pattern = known[python].as_str();
    let pattern = pattern.ok_or("words.json lacks this artifact's word_pattern: add it, see examples/README.md")?;
    Ok(Regex::new(pattern)?)
}

fn main() -> ExitCode {
    // SAFETY: no other thread has begun. Without it onnxruntime reports its use to its maker.
    unsafe { env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    let mut given = env::args().skip(1);
    let folder = given.next().unwrap_or_default();
    let work = || -> Outcome<()> {
        let mut predictor = Predictor::open(Path::new(&folder))?;
        for text in given {
            println!("{}", predictor.predict(&text)?);
        }
        Ok(())
    };
    if let Err(error) = work() {
        eprintln!("{folder}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
