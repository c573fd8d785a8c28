// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands and answers as people read them.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;
use vcuda_protocol::{Reply, Status};

/// Most characters of a byte string or text.
const MOST: usize = 64;

/// A value of the protocol in JSON. All of these can be written so.
pub(super) fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// An answer in a few words.
pub(super) fn answer(reply: &Result<Reply, Status>) -> String {
    match reply {
        Ok(Reply::Done) => "success".into(),
        Ok(reply) => value(&to_json(reply)),
        Err(status) => format!("error {}", status.0),
    }
}

/// A value in one line: names without quotes, addresses in hexadecimal, long bytes cut short.
pub(super) fn value(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, "", value);
    text
}

fn write(text: &mut String, name: &str, value: &Value) {
    match value {
        Value::String(string) if string.len() > MOST => {
            let start: String = string.chars().take(MOST).collect();
            let _ = write!(text, "{start}…[{}]", string.len());
        }
        Value::String(string) => text.push_str(string),
        Value::Number(number) => match number.as_u64() {
            Some(address) if is_address(name) => {
                let _ = write!(text, "{address:#x}");
            }
            _ => {
                let _ = write!(text, "{number}");
            }
        },
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push_str(", ");
                }
                if i == 16 {
                    let _ = write!(text, "…[{}]", items.len());
                    break;
                }
                write(text, name, item);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            // A variant has one field, whose name begins with a capital letter.
            let variant = fields.iter().next().filter(|(key, _)| {
                fields.len() == 1 && key.starts_with(|c: char| c.is_ascii_uppercase())
            });
            if let Some((name, content)) = variant {
                text.push_str(name);
                text.push('(');
                match content {
                    Value::Object(fields) => write_fields(text, fields),
                    other => write(text, name, other),
                }
                text.push(')');
            } else {
                text.push('{');
                write_fields(text, fields);
                text.push('}');
            }
        }
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

fn write_fields(text: &mut String, fields: &serde_json::Map<String, Value>) {
    for (i, (name, value)) in fields.iter().enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        text.push_str(name);
        text.push('=');
        write(text, name, value);
    }
}

fn is_address(name: &str) -> bool {
    matches!(name, "address" | "heap_base")
}
