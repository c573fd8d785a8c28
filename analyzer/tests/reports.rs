// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which files are looked at, and how reports are shown.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use common::Workshop;
use vcuda_analyzer::{Options, Outcome, analyze, exit_code, render_table};

#[test]
fn what_is_no_readable_elf_file_gives_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "#!/bin/sh\n").unwrap();
    let cut = folder.path().join("cut");
    fs::write(&cut, &fs::read("/proc/self/exe").unwrap()[..100]).unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    for (path, says) in [
        (&text, "not an ELF file"),
        (&empty, "not an ELF file"),
        (&cut, "headers are damaged"),
        (&folder.path().join("nothing"), "cannot be read"),
        (&PathBuf::from("/dev/null"), "not a regular file"),
    ] {
        let reports = analyze(&[path], &Options::default());
        let Outcome::Unreadable { error } = &reports[0].result else {
            panic!("{path:?}")
        };
        assert!(
            error.contains(says) && error.ends_with('.'),
            "{path:?}: {error}"
        );
        assert_eq!(exit_code(&reports), 2);
        assert!(render_table(&reports[0], 80).contains("verdict"));
    }
}

#[test]
fn a_folder_is_walked_for_elf_files_without_following_links() {
    let Some(shop) = Workshop::open() else { return };
    let outside = tempfile::tempdir().unwrap();
    fs::copy("/proc/self/exe", outside.path().join("elsewhere")).unwrap();
    shop.program("tree/b/program", &[], &[], &[]);
    shop.program("tree/a", &[], &[], &[]);
    shop.write("tree/b/broken", b"\x7fELF but no more");
    symlink(outside.path(), shop.path("tree/link")).unwrap();
    symlink("/proc/self/exe", shop.path("tree/exe")).unwrap();
    let reports = analyze(&[shop.path("tree")], &Options::default());
    let found: Vec<_> = reports
        .iter()
        .map(|file| {
            file.path
                .strip_prefix(shop.root())
                .unwrap()
                .to_str()
                .unwrap()
        })
        .collect();
    assert_eq!(found, ["tree/a", "tree/b/broken", "tree/b/program"]);
    assert!(matches!(reports[1].result, Outcome::Unreadable { .. }));
    assert_eq!(exit_code(&reports), 2);
}

#[test]
fn a_report_becomes_json() {
    let Some(shop) = Workshop::open() else { return };
    let library = shop.with_fat_binary("libptx.so", &["sass_ptx_zstd.fatbin"]);
    shop.write("text", "text");
    let reports = analyze(&[library, shop.path("text")], &Options::default());
    let json = serde_json::to_value(&reports).unwrap();
    assert_eq!(json[0]["verdict"]["result"], "runs");
    assert_eq!(
        json[0]["code"]["kernels"][1]["params"][1],
        serde_json::json!({"offset": 8, "size": 24})
    );
    assert!(
        json[1]["error"]
            .as_str()
            .unwrap()
            .contains("not an ELF file")
    );
}

#[test]
fn the_table_keeps_to_its_width() {
    let Some(shop) = Workshop::open() else { return };
    let names: Vec<_> = vcuda_api::all()
        .iter()
        .filter(|f| f.library == vcuda_api::Library::Runtime)
        .map(|f| f.name)
        .collect();
    shop.link_stub(
        "libcudart.so",
        "libcudart.so.12",
        Some("libcudart.so.12"),
        &names,
    );
    let program = shop.program("p", &names, &["libcudart.so"], &[]);
    let reports = analyze(&[program], &Options::default());
    for width in [60, 100, 200] {
        let table = render_table(&reports[0], width);
        let names_of_any_length = |line: &&str| !line.trim().contains(' ');
        for line in table
            .lines()
            .skip(1)
            .filter(|line| !names_of_any_length(line))
        {
            assert!(line.chars().count() <= width.max(90), "{width}: {line}");
        }
        for name in &names {
            assert!(table.contains(name));
        }
    }
}

#[test]
fn a_name_in_the_file_cannot_send_commands_to_the_terminal() {
    let Some(shop) = Workshop::open() else { return };
    let soname = "libcublas\x1b[31m.so.1";
    shop.link_stub("libcublas.so", soname, None, &["cublasSgemm_v2"]);
    let program = shop.program("program", &["cublasSgemm_v2"], &["libcublas.so"], &[]);
    let table = render_table(&analyze(&[program], &Options::default())[0], 80);
    assert!(
        !table.contains('\x1b') && table.contains("\\u{1b}"),
        "{table}"
    );
}
