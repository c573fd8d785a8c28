// SPDX-License-Identifier: MIT OR Apache-2.0
//! Has a C compiler compare what the Rust side takes the headers in `include/uapi/linux` to say. The
//! tests of the crates that speak with the driver include this file.

use std::io::Write;
use std::process::{Command, Stdio};

/// Fails unless C code behind `#include` of the header of this name, `_Static_assert`s for example,
/// is right.
pub fn assert_c(header: &str, code: &str) {
    const HEADERS: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../guest-driver-c/include/uapi/linux"
    );
    let mut cc = Command::new("cc")
        .args(["-fsyntax-only", "-Wall", "-Werror", "-I", HEADERS])
        .args(["-x", "c", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let program = format!("#include <stddef.h>\n#include \"{header}\"\n{code}");
    let mut input = cc.stdin.take().unwrap();
    input.write_all(program.as_bytes()).unwrap();
    drop(input);
    let output = cc.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
