//! JSON whose strings came from strangers: names of devices and files, messages of workers. What a
//! terminal would obey is replaced before anything else sees it.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads `bytes`; control characters in strings become U+FFFD, line ends and tabs excepted.
pub(super) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut value: Value = serde_json::from_slice(bytes)?;
    clean(&mut value);
    serde_json::from_value(value)
}

/// The parser bounds the depth.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) => clean_text(text),
        Value::Array(values) => values.iter_mut().for_each(clean),
        Value::Object(map) => {
            // Names of metrics are keys.
            if map.keys().any(|key| key.chars().any(obeyed)) {
                *map = std::mem::take(map)
                    .into_iter()
                    .map(|(mut key, value)| {
                        clean_text(&mut key);
                        (key, value)
                    })
                    .collect();
            }
            map.values_mut().for_each(clean);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn clean_text(text: &mut String) {
    if text.chars().any(obeyed) {
        *text = text.replace(obeyed, "\u{fffd}");
    }
}

/// Whether a terminal does something at this character.
fn obeyed(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        let hostile = br#"{"a\u001b[2J":["ok\n\u0007","\u009b1m"],"b":{"c":"\r"}}"#;
        let value: Value = from_slice(hostile).unwrap();
        let expected = serde_json::json!({
            "a\u{fffd}[2J": ["ok\n\u{fffd}", "\u{fffd}1m"],
            "b": { "c": "\u{fffd}" },
        });
        assert_eq!(value, expected);
    }
}
