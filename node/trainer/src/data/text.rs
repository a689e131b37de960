//! Text for models of language: every character is a token, windows of them are rows, and the
//! target at each position is the character that follows. Windows may overlap, so that each token
//! is kept once and windows are only places.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use super::encoding::{Encoding, Known};
use super::names::Names;
use super::raw::{Raw, RawTargets};
use super::rows::Features;
use super::storage::Storage;
use super::{DataError, open, reserve, too_many};
use crate::definition::DataSpec;
use crate::limits;

pub(super) fn load(
    spec: &DataSpec,
    labelled: bool,
    inputs: &Path,
    known: Option<Known<'_>>,
    storage: Storage<'_>,
) -> Result<Raw, DataError> {
    let file = spec.source.as_str();
    let text_spec = spec.text.expect("the rules ask for the context of a text");
    let (context, stride) = (text_spec.context as usize, text_spec.stride());
    let text = read(inputs, file)?;
    let vocabulary = match known.and_then(|known| known.encoding) {
        Some(Encoding::Characters { vocabulary, .. }) => vocabulary.clone(),
        Some(_) => return Err(DataError::OtherEncoding { file: file.to_owned() }),
        None => vocabulary(&text, file)?,
    };
    let tokens = tokens(&text, &vocabulary, file)?;
    // A target is the character behind its window.
    let needed = context + usize::from(labelled);
    if tokens.len() < needed {
        return Err(DataError::ShortText { file: file.to_owned(), found: tokens.len(), context });
    }
    let rows = (tokens.len() - needed) / stride + 1;
    let mut features = storage.sink(file, Some(tokens.len() as u64))?;
    let mut block = Vec::new();
    for tokens in tokens.chunks(TOKENS_AT_ONCE) {
        block.clear();
        // Exact: there are far fewer characters than an f32 can count.
        block.extend(tokens.iter().map(|&token| token as f32));
        features.push(&block)?;
    }
    let features = Features::windows(features.finish()?, context, stride, rows);
    let names = vocabulary.chars().map(String::from).collect();
    Ok(Raw {
        file: file.to_owned(),
        label_file: file.to_owned(),
        shape: vec![context],
        features,
        columns: Vec::new(),
        encoding: Some(Encoding::Characters { vocabulary, context: text_spec.context }),
        targets: match labelled {
            true => RawTargets::Positions { ids: tokens, positions: context, stride, names },
            false => super::no_targets(),
        },
        ids: Names::default(),
    })
}

fn read(inputs: &Path, file: &str) -> Result<String, DataError> {
    let (opened, length) = open(inputs, file)?;
    let limit = limits::MAX_TEXT_BYTES;
    if length > limit {
        let (file, what) = (file.to_owned(), "bytes");
        return Err(DataError::TooMany { file, what, found: length, limit });
    }
    let mut bytes = Vec::new();
    let read = opened.take(limit).read_to_end(&mut bytes);
    read.map_err(|fault| DataError::Read { file: file.to_owned(), fault })?;
    match String::from_utf8(bytes) {
        // A mark that some editors put in front is no part of the text.
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(fault) => {
            let good = &fault.as_bytes()[..fault.utf8_error().valid_up_to()];
            let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count() as u64;
            Err(DataError::TextNotUtf8 { file: file.to_owned(), line })
        }
    }
}

/// The characters of a text, in the order of code points.
fn vocabulary(text: &str, file: &str) -> Result<String, DataError> {
    let characters: BTreeSet<char> = text.chars().collect();
    if characters.len() > limits::MAX_OUTPUTS {
        let (found, limit) = (characters.len(), limits::MAX_OUTPUTS);
        return Err(too_many(file, "different characters", found, limit));
    }
    if let (1, Some(only)) = (characters.len(), characters.first()) {
        return Err(DataError::OneClass { file: file.to_owned(), value: only.to_string() });
    }
    Ok(characters.into_iter().collect())
}

/// Each character by its place in the vocabulary.
fn tokens(text: &str, vocabulary: &str, file: &str) -> Result<Vec<u32>, DataError> {
    let places: BTreeMap<char, u32> = vocabulary.chars().zip(0..).collect();
    let mut tokens = Vec::new();
    reserve(&mut tokens, text.chars().count(), file)?;
    let mut line = 1;
    for character in text.chars() {
        let Some(&token) = places.get(&character) else {
            return Err(DataError::OtherCharacter { file: file.to_owned(), line, character });
        };
        line += u64::from(character == '\n');
        tokens.push(token);
    }
    Ok(tokens)
}

const TOKENS_AT_ONCE: usize = 1 << 16;

const _: () = assert!(limits::MAX_OUTPUTS < 1 << f32::MANTISSA_DIGITS);
const _: () = assert!(limits::MAX_CONTEXT <= limits::MAX_FEATURES);
