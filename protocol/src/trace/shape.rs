// SPDX-License-Identifier: MIT OR Apache-2.0
//! How commands and replies are encoded, as text that a trace carries.
//!
//! The text is found from the types themselves, names each field and spells out each type down to
//! what postcard writes, so that equal texts mean equal encodings. It is read by people and
//! compared by programs ([`reads`]); nothing else is made of it.

use std::fmt::Write;
use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_reflection::{
    ContainerFormat, Format, Named, Registry, Samples, Tracer, TracerConfig, VariantFormat,
};

use crate::command::{Command, Header};
use crate::types::{HostMemory, Image, Place, Reply, TextureShape};

/// What a shape is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// [`Header`], which stands before each command. Its index is 0.
    Header,
    /// A variant of [`Command`].
    Command,
    /// A variant of [`Reply`].
    Reply,
}

/// The shapes that this program writes and reads.
pub struct Shapes {
    pub header: String,
    /// By variant index.
    pub commands: Vec<String>,
    /// By variant index.
    pub replies: Vec<String>,
}

impl Shapes {
    pub fn of(&self, role: Role) -> &[String] {
        match role {
            Role::Header => std::slice::from_ref(&self.header),
            Role::Command => &self.commands,
            Role::Reply => &self.replies,
        }
    }
}

/// The present shapes.
pub fn shapes() -> &'static Shapes {
    static SHAPES: LazyLock<Shapes> = LazyLock::new(|| Shapes {
        header: container::<Header>("Header").remove(0),
        commands: container::<Command>("Command"),
        replies: container::<Reply>("Reply"),
    });
    &SHAPES
}

/// Whether what was written in the shape `file` can be decoded in the shape `own`: they are equal,
/// or `own` has more variants behind those of an enum.
pub fn reads(own: &str, file: &str) -> bool {
    let (mut own, mut file) = (own.chars().peekable(), file.chars().peekable());
    loop {
        match (own.peek().copied(), file.peek().copied()) {
            (None, None) => return true,
            (Some(' '), Some('>')) => {
                // The file's enum is over. Skip to where ours is.
                let mut depth = 0;
                while let Some(&c) = own.peek() {
                    match c {
                        '>' if depth == 0 => break,
                        '>' => depth -= 1,
                        '<' => depth += 1,
                        _ => {}
                    }
                    own.next();
                }
            }
            (Some(a), Some(b)) if a == b => {
                own.next();
                file.next();
            }
            _ => return false,
        }
    }
}

/// The shape of a structure, or of each variant of an enum.
fn container<T: DeserializeOwned>(name: &str) -> Vec<String> {
    let mut tracer = Tracer::new(TracerConfig::default());
    let samples = Samples::new();
    // The types are this crate's own, and a test looks at each: tracing them cannot fail.
    let traced = (|| {
        // The tracer finds all variants of the enums that it is given, not of those within.
        tracer.trace_type::<Place>(&samples)?;
        tracer.trace_type::<Image>(&samples)?;
        tracer.trace_type::<HostMemory>(&samples)?;
        tracer.trace_type::<TextureShape>(&samples)?;
        tracer.trace_type::<T>(&samples)?;
        tracer.registry()
    })();
    let registry = traced.unwrap_or_else(|e| unreachable!("{name} cannot be described: {e}"));
    let text = Text(&registry);
    match &registry[name] {
        ContainerFormat::Enum(variants) => variants.values().map(|v| text.variant(v)).collect(),
        structure => vec![format!("{name}{}", text.container(structure))],
    }
}

struct Text<'a>(&'a Registry);

impl Text<'_> {
    fn variant(&self, variant: &Named<VariantFormat>) -> String {
        let fields = match &variant.value {
            VariantFormat::Variable(_) | VariantFormat::Unit => String::new(),
            VariantFormat::NewType(inner) => format!("({})", self.format(inner)),
            VariantFormat::Tuple(fields) => format!("({})", self.list(fields)),
            VariantFormat::Struct(fields) => self.fields(fields),
        };
        format!("{}{fields}", variant.name)
    }

    fn container(&self, container: &ContainerFormat) -> String {
        match container {
            ContainerFormat::UnitStruct => String::new(),
            ContainerFormat::NewTypeStruct(inner) => format!("({})", self.format(inner)),
            ContainerFormat::TupleStruct(fields) => format!("({})", self.list(fields)),
            ContainerFormat::Struct(fields) => self.fields(fields),
            ContainerFormat::Enum(variants) => {
                let mut text = String::new();
                for (index, variant) in variants {
                    let bar = if text.is_empty() { "<" } else { " | " };
                    let _ = write!(text, "{bar}{index} {}", self.variant(variant));
                }
                text + ">"
            }
        }
    }

    fn fields(&self, fields: &[Named<Format>]) -> String {
        let fields: Vec<_> = fields
            .iter()
            .map(|f| format!("{}: {}", f.name, self.format(&f.value)))
            .collect();
        format!(" {{ {} }}", fields.join(", "))
    }

    fn list(&self, fields: &[Format]) -> String {
        let fields: Vec<_> = fields.iter().map(|f| self.format(f)).collect();
        fields.join(", ")
    }

    fn format(&self, format: &Format) -> String {
        match format {
            Format::TypeName(name) => format!("{name}{}", self.container(&self.0[name])),
            Format::Option(inner) => format!("option {}", self.format(inner)),
            Format::Seq(inner) => format!("[{}]", self.format(inner)),
            Format::Tuple(fields) => format!("({})", self.list(fields)),
            Format::TupleArray { content, size } => format!("[{}; {size}]", self.format(content)),
            Format::Map { key, value } => {
                format!("{{{}: {}}}", self.format(key), self.format(value))
            }
            scalar => format!("{scalar:?}").to_lowercase(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_name_every_field_and_spell_out_every_type() {
        let shapes = shapes();
        assert_eq!(
            shapes.header,
            "Header { sequence: u64, api: u16, thread: u32, time: u64, slot: option u16 }"
        );
        let event_record = "EventRecord { event: u32, stream: Stream { device: u32, id: u32 } }";
        assert!(shapes.commands.iter().any(|s| s == event_record));
        assert!(shapes.replies.iter().any(|s| s == "Milliseconds(f32)"));
        assert!(shapes.replies.iter().any(|s| s == "Data(bytes)"));
    }

    #[test]
    fn a_shape_reads_itself_and_one_with_fewer_variants() {
        let own = "A { x: E<0 P | 1 Q { y: F<0 R | 1 S> } | 2 T>, z: u8 }";
        assert!(reads(own, own));
        assert!(reads(own, "A { x: E<0 P | 1 Q { y: F<0 R> }>, z: u8 }"));
        assert!(reads(own, "A { x: E<0 P>, z: u8 }"));
        for other in [
            "",
            "A",
            "A { x: E<0 P>, z: u16 }",
            "A { x: E<0 P>, z: u8 } ",
            "A { x: E<0 Q>, z: u8 }",
            "A { x: E<0 P | 1 Q { y: F<0 R | 1 S> } | 2 T | 3 U>, z: u8 }",
            "A { z: u8 }",
        ] {
            assert!(!reads(own, other), "{other}");
        }
    }

    #[test]
    fn each_variant_index_has_its_shape() {
        let stream = crate::Stream { device: 0, id: 0 };
        let command = Command::EventRecord { event: 0, stream };
        let bytes = postcard::to_stdvec(&command).unwrap();
        assert!(shapes().commands[usize::from(bytes[0])].starts_with("EventRecord "));
        let bytes = postcard::to_stdvec(&Reply::Count(0)).unwrap();
        assert_eq!(shapes().replies[usize::from(bytes[0])], "Count(u32)");
    }
}
