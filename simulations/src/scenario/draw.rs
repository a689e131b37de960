//! What a scenario leaves to the seed: `{ draw = "0..100" }` is a number of these, both ends
//! included, `{ draw = "20ms..200ms" }` a duration, `{ draw = ["balanced", "economy"] }` one of a
//! list. The stream of a draw follows from its key.

use std::time::Duration;

use toml::{Table, Value};

use super::notation;
use crate::chance::{Purpose, below, secret};

/// Whether a table is a draw rather than a group of keys.
pub(super) fn is_draw(table: &Table) -> bool {
    table.contains_key("draw")
}

/// Puts a drawn value in the place of every draw; else the key that is not right, and why.
pub(super) fn resolve(table: &mut Table, seed: u64) -> Result<(), (String, String)> {
    walk(table, "", seed)
}

fn walk(table: &mut Table, outer: &str, seed: u64) -> Result<(), (String, String)> {
    for (key, value) in table.iter_mut() {
        let path = if outer.is_empty() { key.clone() } else { format!("{outer}.{key}") };
        if let Value::Table(inner) = value {
            if is_draw(inner) {
                *value = drawn(inner, &path, seed).map_err(|what| (path, what))?;
            } else {
                walk(inner, &path, seed)?;
            }
        }
    }
    Ok(())
}

fn drawn(table: &Table, path: &str, seed: u64) -> Result<Value, String> {
    if table.len() != 1 {
        return Err("a draw stands alone: { draw = \"0..100\" }".to_owned());
    }
    let mut chance = stream(seed, path);
    match table.get("draw") {
        Some(Value::Array(list)) if !list.is_empty() => {
            let place = crate::chance::place(&mut chance, list.len());
            Ok(list[place].clone())
        }
        Some(Value::String(range)) => {
            let wrong = || format!("'{range}' is no range: write \"0..100\" or \"20ms..200ms\"");
            let (least, most) = range.split_once("..").ok_or_else(wrong)?;
            if let (Ok(least), Ok(most)) = (least.trim().parse::<u32>(), most.trim().parse()) {
                let number = between(&mut chance, least.into(), most).ok_or_else(wrong)?;
                return Ok(Value::Integer(i64::try_from(number).map_err(|_large| wrong())?));
            }
            let micros = |text| {
                let duration = notation::duration(text).map_err(|error| error.to_string())?;
                u64::try_from(duration.as_micros()).map_err(|_long| wrong())
            };
            let drawn = between(&mut chance, micros(least)?, micros(most)?).ok_or_else(wrong)?;
            Ok(Value::String(notation::text(Duration::from_micros(drawn))))
        }
        _ => Err("draw from a range \"0..100\" or a list that is not empty".to_owned()),
    }
}

fn between(chance: &mut cyxwiz_protocol::Rng, least: u64, most: u64) -> Option<u64> {
    Some(least + below(chance, most.checked_sub(least)?.checked_add(1)?))
}

fn stream(seed: u64, path: &str) -> cyxwiz_protocol::Rng {
    let hash = blake3::hash(path.as_bytes());
    let index = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("8 of 32 bytes"));
    cyxwiz_protocol::Rng::new(secret(seed, Purpose::Plan, index))
}
