// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the exports of libvcuda.so from the list of CUDA functions; `src/stubs.rs` includes what is written here.
//!
//! - A name with the status `stub` gets a function that says so.
//! - A name with the status `implemented` is declared: without a body the library does not link.
//! - A name whose meaning changed between CUDA releases has a body per meaning. The name is then exported once per
//!   version node of libcudart, by a jump to the body of that node's meaning, and what the program asked for decides.
//!   The newest node is the default, which dlsym finds, and the first in the version script, which a program that was
//!   linked without versions gets.
//!
//! Names that never changed are exported without a version: such a symbol answers for every version that a program
//! asks for. That is why only the changed names have versions, and why those need every node there is.
//!
//! rustc hands the linker a version script of its own (all exports in an anonymous node, everything else local). lld,
//! which rustc uses on x86-64 Linux, merges the two; GNU ld refuses an anonymous node beside named ones.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use vcuda_api::{Library, NODES, Returns};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let write = |name: &str, text: String| {
        let path = Path::new(&out).join(name);
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    };
    let text = [stubs(), addresses(), versioned()].concat();
    write("exports.rs", text);
    let script = write("nodes.map", version_script());

    let arguments = [
        // A program that is linked with the driver, or that opens it, finds this library in its place.
        "-soname,libcuda.so.1".to_owned(),
        format!("--version-script={}", script.display()),
        // A declared function without a body is an error here, and not only where a program calls it.
        "-z,defs".to_owned(),
        // Our own uses of a name mean our own function, even where NVIDIA's library comes first in the process.
        "-Bsymbolic".to_owned(),
    ];
    for argument in arguments {
        println!("cargo::rustc-cdylib-link-arg=-Wl,{argument}");
    }
}

/// `stub!` for every function that is not implemented.
fn stubs() -> String {
    let mut text = String::new();
    for function in vcuda_api::all().iter().filter(|f| !f.is_implemented()) {
        let name = function.name;
        let returns = match (function.returns, function.library) {
            (Returns::Error { unless_implemented }, Library::Runtime) => {
                format!("runtime error {unless_implemented}")
            }
            (Returns::Error { unless_implemented }, Library::Driver) => {
                format!("driver error {unless_implemented}")
            }
            (Returns::Void, _) => "nothing".to_owned(),
            (Returns::Pointer | Returns::String, _) => "pointer".to_owned(),
            (Returns::Flag, _) => "flag".to_owned(),
            (Returns::Channel, _) => "channel".to_owned(),
        };
        writeln!(text, "stub!({name} returns {returns});").expect("writing to a String");
    }
    text
}

/// Declarations of what does each function's work, and the table of its addresses in the order of the function numbers.
/// Of a name that changed it is the newest meaning. (`used`: a body that is missing must not go unnoticed.)
fn addresses() -> String {
    let (mut declarations, mut table) = (String::new(), String::new());
    for function in vcuda_api::all() {
        let body = function
            .bodies()
            .next_back()
            .filter(|_| function.is_implemented());
        let symbol = body.unwrap_or(function.name);
        writeln!(declarations, "        pub(super) fn {symbol}();").expect("writing to a String");
        writeln!(table, "    Address(symbol::{symbol} as *const c_void),")
            .expect("writing to a String");
    }
    format!(
        "mod symbol {{\n    unsafe extern \"C\" {{\n{declarations}    }}\n}}\n\
         #[used]\n\
         static ADDRESSES: [Address; {}] = [\n{table}];\n",
        vcuda_api::all().len()
    )
}

/// For each version node of a changed name, a jump to the body that has the node's meaning.
fn versioned() -> String {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let jump = match architecture.as_str() {
        "x86_64" => "jmp",
        "aarch64" => "b",
        other => panic!(
            "libvcuda.so cannot be built for {other}: its jump instruction is not known here"
        ),
    };
    let mut text = String::new();
    for function in vcuda_api::all().iter().filter(|f| f.is_implemented()) {
        let name = function.name;
        let nodes = function.meanings.iter().flat_map(|meaning| {
            let symbol = meaning.symbol;
            meaning
                .nodes()
                .iter()
                .map(move |node| (symbol, node.soname))
        });
        let default = nodes.clone().next_back().map(|(_, node)| node);
        for (symbol, node) in nodes {
            let at = if Some(node) == default { "@@" } else { "@" };
            let label = format!("vcuda.{name}.{node}");
            writeln!(
                text,
                "#[cfg(not(test))]\nstd::arch::global_asm!(\n    \".pushsection .text.{label},\\\"ax\\\",%progbits\",\n    \
                 \".hidden {symbol}\",\n    \".globl {label}\",\n    \".type {label},%function\",\n    \
                 \"{label}: {jump} {symbol}\",\n    \".size {label}, . - {label}\",\n    \
                 \".symver {label}, {name}{at}{node}\",\n    \".popsection\",\n);"
            )
            .expect("writing to a String");
        }
    }
    text
}

/// The version nodes, newest first. The symbols carry their nodes themselves.
fn version_script() -> String {
    NODES
        .iter()
        .rev()
        .map(|node| format!("{} {{}};\n", node.soname))
        .collect()
}
