// SPDX-License-Identifier: MIT OR Apache-2.0
//! The recordings in traces/ stay readable, and replay equally, whatever has changed since they were made.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use vcuda_tests::{Finished, Run, repository};

fn recordings() -> Vec<PathBuf> {
    let found: BTreeSet<_> = fs::read_dir(repository().join("traces"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "vcuda"))
        .collect();
    assert!(found.len() >= 8, "{found:?}");
    found.into_iter().collect()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[track_caller]
fn expect_equal(result: &Finished) {
    result
        .expect_code(0)
        .expect_stdout("The replay is equal to the recording.");
}

#[test]
fn each_replays_equally_on_the_cpu_device() {
    for path in recordings() {
        expect_equal(&Run::vcuda(["replay", "--device", "cpu"]).arg(&path).run());
    }
}

#[test]
fn each_replays_equally_on_a_smaller_machine() {
    for path in recordings() {
        let replay = Run::vcuda(["replay", "--device", "cpu"])
            .arg(&path)
            .env("VCUDA_CPU_MEMORY", "64")
            .env("VCUDA_CPU_THREADS", "1");
        let result = replay.run();
        expect_equal(&result);
        let smaller = "The heap of the recorded device 0 (";
        assert_eq!(result.stdout.matches(smaller).count(), 1);
        let mut lines: Vec<_> = result.stdout.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), result.stdout.lines().count(), "said twice");
    }
}

#[test]
fn each_can_be_printed_whole() {
    for path in recordings() {
        for command in ["info", "calls", "json"] {
            let printed = Run::vcuda(["trace", command]).arg(&path).run();
            printed.expect_code(0);
            assert!(!printed.stdout.is_empty());
            assert_eq!(printed.stderr, "", "{}", name(&path));
        }
    }
}

#[test]
fn each_is_small_and_says_nothing_of_where_it_was_made() {
    for path in recordings() {
        let size = fs::metadata(&path).unwrap().len();
        assert!(size < 50_000, "{} has {size} bytes", name(&path));
        let json = Run::vcuda(["trace", "json"]).arg(&path).run();
        let properties = json.stdout.lines().next().unwrap();
        let properties: serde_json::Value = serde_json::from_str(properties).unwrap();
        let values = |key: &str| -> Vec<String> {
            let all = properties["properties"].as_array().unwrap().iter();
            all.filter(|pair| pair[0] == key)
                .map(|pair| pair[1].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(values("host"), ["demo"], "{}", name(&path));
        assert!(values("program")[0].starts_with("./"), "{}", name(&path));
        let here = repository().to_str().unwrap();
        for private in ["/home/", "/root/", "/tmp/", "/var/", here] {
            assert!(!json.stdout.contains(private), "{}", name(&path));
        }
    }
}

#[test]
fn the_readme_says_how_each_was_made() {
    let readme = fs::read_to_string(repository().join("traces/README.md")).unwrap();
    let listed: BTreeSet<_> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    let found: BTreeSet<_> = recordings().iter().map(|p| name(p).to_owned()).collect();
    assert_eq!(listed, found);
}
