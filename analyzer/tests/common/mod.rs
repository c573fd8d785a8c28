// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real binaries for the tests, made by the system's C compiler.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use vcuda_analyzer::{FileReport, Options, Report, analyze};

/// A folder in which to compile.
pub struct Workshop {
    folder: TempDir,
}

impl Workshop {
    /// `None`, with a line that says so, where there is no C compiler.
    pub fn open() -> Option<Self> {
        let found = Command::new("gcc").arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: there is no gcc");
            return None;
        }
        Some(Self {
            folder: tempfile::tempdir().unwrap(),
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Compiles `source` into `output`; the arguments come behind the source.
    pub fn gcc(&self, output: &str, source: &str, arguments: &[&str]) -> PathBuf {
        let path = self.path(output);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = self.write(&format!("{output}.c"), source);
        let result = Command::new("gcc")
            .current_dir(self.root())
            .args(["-w", "-O1", "-o"])
            .args([&path, &file])
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            result.status.success(),
            "gcc {output}: {}",
            String::from_utf8_lossy(&result.stderr)
        );
        path
    }

    /// A library of empty functions to link with, all in one version node if `node` is given.
    pub fn link_stub(
        &self,
        file: &str,
        soname: &str,
        node: Option<&str>,
        functions: &[&str],
    ) -> PathBuf {
        let source: String = functions
            .iter()
            .map(|name| format!("int {name}() {{ return 0; }}\n"))
            .collect();
        let soname = format!("-Wl,-soname,{soname}");
        let mut arguments = vec!["-shared", "-fPIC", &soname];
        let script = node.map(|node| {
            let map = self.write(
                &format!("{file}.map"),
                format!("{node} {{ global: *; }};\n"),
            );
            format!("-Wl,--version-script={}", map.display())
        });
        arguments.extend(script.as_deref());
        self.gcc(file, &source, &arguments)
    }

    /// A program that calls each of `functions` and prints the sum of what they return, linked with `libraries`, which are
    /// in this folder.
    pub fn program(
        &self,
        output: &str,
        functions: &[&str],
        libraries: &[&str],
        arguments: &[&str],
    ) -> PathBuf {
        let declared: String = functions
            .iter()
            .map(|name| format!("int {name}();\n"))
            .collect();
        let called: String = functions
            .iter()
            .map(|name| format!(" + {name}()"))
            .collect();
        let source = format!(
            "#include <stdio.h>\n{declared}int main(void) {{ printf(\"%d\\n\", 0{called}); return 0; }}\n"
        );
        self.gcc(output, &source, &[libraries, arguments].concat())
    }

    /// A shared library whose undefined symbols are left open, with a fat binary in it.
    pub fn with_fat_binary(&self, output: &str, golden: &[&str]) -> PathBuf {
        let sections: String = golden
            .iter()
            .map(|name| {
                let file = format!("{}/../fatbin/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
                format!("asm(\".pushsection .nv_fatbin, \\\"a\\\"\\n.balign 8\\n.incbin \\\"{file}\\\"\\n.popsection\");\n")
            })
            .collect();
        self.gcc(output, &sections, &["-shared", "-fPIC"])
    }
}

/// Runs a program with the given environment added.
pub fn run(program: &Path, environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program);
    command
        .env_remove("LD_PRELOAD")
        .env_remove("LD_LIBRARY_PATH")
        .envs(environment.iter().copied());
    command.output().unwrap()
}

/// What it printed, if it ended well.
pub fn printed(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .trim()
        .to_owned()
}

pub fn report_of(path: &Path) -> Report {
    report_with(path, &Options::default())
}

pub fn report_with(path: &Path, options: &Options) -> Report {
    let [file] = analyze(&[path], options).try_into().unwrap();
    let FileReport { result, .. } = &file;
    file.report()
        .unwrap_or_else(|| panic!("{result:?}"))
        .clone()
}

fn runtime_functions(implemented: bool) -> impl Iterator<Item = &'static str> {
    vcuda_api::all()
        .iter()
        .filter(|function| {
            function.library == vcuda_api::Library::Runtime && function.meanings.is_empty()
        })
        .filter(move |function| function.is_implemented() == implemented)
        .map(|function| function.name)
}

/// Some function of the runtime that vcuda implements.
pub fn implemented() -> &'static str {
    runtime_functions(true)
        .find(|name| name.starts_with("cuda"))
        .unwrap()
}

/// Some function of the runtime that vcuda does not implement.
pub fn stub() -> &'static str {
    runtime_functions(false)
        .find(|name| name.starts_with("cuda"))
        .unwrap()
}
