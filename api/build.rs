// SPDX-License-Identifier: MIT OR Apache-2.0
//! Turns `src/functions.tsv` and `src/errors.tsv` into static tables, and refuses a table that contradicts itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    for (table, generate) in [
        ("functions", functions as fn(&str) -> String),
        ("errors", errors),
    ] {
        let source = format!("src/{table}.tsv");
        println!("cargo::rerun-if-changed={source}");
        let text = fs::read_to_string(&source).unwrap_or_else(|e| panic!("{source}: {e}"));
        let target = Path::new(&out).join(format!("{table}.rs"));
        fs::write(&target, generate(&text)).unwrap_or_else(|e| panic!("{target:?}: {e}"));
    }
}

/// The rows of a table, split at tabs, with their line numbers; the line of column names is checked and left out.
fn rows<const N: usize>(text: &str, columns: [&str; N]) -> Vec<(usize, [String; N])> {
    let mut rows = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#') && !line.is_empty())
        .map(|(number, line)| {
            let cells: Vec<String> = line.split('\t').map(str::to_owned).collect();
            let cells = cells.try_into().unwrap_or_else(|cells: Vec<String>| {
                panic!(
                    "line {}: {} columns instead of {N}",
                    number + 1,
                    cells.len()
                )
            });
            (number + 1, cells)
        });
    let (_, header) = rows.next().expect("a table has a line of column names");
    assert_eq!(header, columns, "the columns of the table");
    rows.collect()
}

fn functions(text: &str) -> String {
    let columns = [
        "name", "library", "first", "last", "status", "returns", "error", "nodes",
    ];
    let rows = rows(text, columns);
    let (mut table, mut ids) = (String::new(), String::new());
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut previous = String::new();
    for (index, (line, [name, library, first, last, status, returns, error, nodes])) in
        rows.iter().enumerate()
    {
        assert!(
            previous < *name,
            "line {line}: {name} must come before {previous}, and only once"
        );
        previous.clone_from(name);
        for byte in name.bytes().chain([b'\n']) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let library = keyword(*line, library, &["runtime", "driver"]);
        let status = keyword(*line, status, &["implemented", "stub"]);
        let (first, last) = (version(*line, first), release(*line, last));
        let returns = match (returns.as_str(), error.as_str()) {
            ("error", code) => {
                let code: u32 = code
                    .parse()
                    .unwrap_or_else(|_| panic!("line {line}: {code} is no error code"));
                assert_ne!(code, 0, "line {line}: a stub must not return success");
                format!("Error {{ unless_implemented: {code} }}")
            }
            (kind, "-") => keyword(
                *line,
                kind,
                &["void", "pointer", "string", "flag", "channel"],
            ),
            (kind, error) => {
                panic!("line {line}: a function that returns {kind} has no error {error}")
            }
        };
        let meanings = meanings(*line, name, nodes, last);
        let last = last.map_or("None".to_owned(), |last| format!("Some({})", literal(last)));
        writeln!(
            table,
            "    Function {{ id: FunctionId({index}), name: {name:?}, library: Library::{library}, first: {}, \
             last: {last}, status: Status::{status}, returns: Returns::{returns}, meanings: &[{}] }},",
            literal(first),
            meanings
                .iter()
                .map(|meaning| meaning.literal.as_str())
                .collect::<String>()
        )
        .expect("writing to a String");
        for name in meanings.iter().map(|meaning| &meaning.symbol).chain([name]) {
            writeln!(
                ids,
                "    pub const {name}: FunctionId = FunctionId({index});"
            )
            .expect("writing to a String");
        }
    }
    assert!(
        u16::try_from(rows.len()).is_ok(),
        "a FunctionId has 16 bits"
    );
    format!(
        "static FUNCTIONS: [Function; {}] = [\n{table}];\n\n\
         /// FNV-1a over the names in order, a line feed after each. Two builds with the same hash number the \
         functions alike.\npub const TABLE_HASH: u64 = {hash:#x};\n\n\
         /// The number of each function, under its own name and under those of its bodies: `id::cudaMalloc`,\n\
         /// `id::cudaGetDeviceProperties__v11`.\n\
         #[allow(non_upper_case_globals, missing_docs)]\npub mod id {{\n    use super::FunctionId;\n{ids}}}\n",
        rows.len()
    )
}

/// A cell that holds one of a few words, as the name of an enum's variant.
fn keyword(line: usize, cell: &str, words: &[&str]) -> String {
    assert!(
        words.contains(&cell),
        "line {line}: {cell:?} is none of {words:?}"
    );
    cell[..1].to_uppercase() + &cell[1..]
}

fn version(line: usize, cell: &str) -> (u8, u8) {
    let (major, minor) = cell.split_once('.').unwrap_or((cell, "0"));
    let number = |part: &str| -> u8 {
        part.parse()
            .unwrap_or_else(|_| panic!("line {line}: {cell:?} is no version"))
    };
    (number(major), number(minor))
}

fn release(line: usize, cell: &str) -> Option<(u8, u8)> {
    (cell != "-").then(|| version(line, cell))
}

fn literal((major, minor): (u8, u8)) -> String {
    format!("Version::new({major}, {minor})")
}

struct Meaning {
    symbol: String,
    literal: String,
}

/// The meanings of a name, from the versions in which a new one begins.
fn meanings(line: usize, name: &str, nodes: &str, last: Option<(u8, u8)>) -> Vec<Meaning> {
    if nodes == "-" {
        return Vec::new();
    }
    let last = last.unwrap_or_else(|| panic!("line {line}: {name} has nodes, but no last release"));
    let starts: Vec<_> = nodes.split(' ').map(|node| version(line, node)).collect();
    let ends = starts.iter().skip(1).copied().chain([(last.0, last.1 + 1)]);
    let mut meanings = Vec::new();
    for (&since, before) in starts.iter().zip(ends) {
        assert!(since < before, "line {line}: {nodes:?} is out of order");
        let symbol = match since {
            (major, 0) => format!("{name}__v{major}"),
            (major, minor) => format!("{name}__v{major}_{minor}"),
        };
        let literal = format!(
            "Meaning {{ since: {}, before: {}, symbol: {symbol:?} }}, ",
            literal(since),
            literal(before)
        );
        meanings.push(Meaning { symbol, literal });
    }
    meanings
}

fn errors(text: &str) -> String {
    let columns = ["code", "runtime", "driver", "before_10_1", "description"];
    let mut table = String::new();
    let mut constants: BTreeMap<String, (u32, String)> = BTreeMap::new();
    let mut previous = None;
    let rows = rows(text, columns);
    for (line, [code, runtime, driver, before, description]) in &rows {
        let code: u32 = code
            .parse()
            .unwrap_or_else(|_| panic!("line {line}: {code} is no error code"));
        assert!(previous < Some(code), "line {line}: {code} is out of order");
        previous = Some(code);
        let name = |cell: &String| match cell.as_str() {
            "-" => "None".to_owned(),
            name => format!("Some(c{name:?})"),
        };
        let before = match before.as_str() {
            "-" => "None".to_owned(),
            before => format!("Some({before})"),
        };
        writeln!(
            table,
            "    ErrorCode {{ code: {code}, runtime: {}, driver: {}, before_10_1: {before}, \
             description: c{description:?} }},",
            name(runtime),
            name(driver)
        )
        .expect("writing to a String");
        for (cell, constant) in [
            (driver, driver_constant(driver)),
            (runtime, runtime_constant(runtime)),
        ] {
            let Some(constant) = constant else { continue };
            let entry = constants
                .entry(constant.clone())
                .or_insert_with(|| (code, cell.clone()));
            assert_eq!(
                entry.0, code,
                "line {line}: {constant} already stands for another code"
            );
        }
    }
    let mut text = format!(
        "static ERRORS: [ErrorCode; {}] = [\n{table}];\n",
        rows.len()
    );
    for (constant, (code, name)) in constants {
        writeln!(text, "/// `{name}`\npub const {constant}: u32 = {code};")
            .expect("writing to a String");
    }
    text
}

/// `CUDA_ERROR_INVALID_VALUE` -> `INVALID_VALUE`
fn driver_constant(name: &str) -> Option<String> {
    let rest = name.strip_prefix("CUDA_")?;
    Some(rest.strip_prefix("ERROR_").unwrap_or(rest).to_owned())
}

/// `cudaErrorInvalidValue` -> `INVALID_VALUE`
fn runtime_constant(name: &str) -> Option<String> {
    let rest = name.strip_prefix("cuda")?;
    let rest = rest.strip_prefix("Error").unwrap_or(rest);
    let mut constant = String::new();
    let mut after_lower = false;
    for letter in rest.chars() {
        if letter.is_uppercase() && after_lower {
            constant.push('_');
        }
        after_lower = letter.is_lowercase();
        constant.push(letter.to_ascii_uppercase());
    }
    Some(constant)
}
