// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `vcuda` command line: help, exit codes, pipes.

use std::fs;

use vcuda_tests::{Run, program, temporary_folder};

const COMMANDS: [&str; 9] = [
    "analyze",
    "run",
    "record",
    "replay",
    "trace",
    "shims",
    "doctor",
    "completions",
    "man",
];

mod help {
    use super::*;

    #[test]
    fn names_every_command_and_the_environment() {
        let help = Run::vcuda(["--help"]).run();
        help.expect_code(0);
        for text in COMMANDS.iter().chain(&["VCUDA_RECORD", "VCUDA_WORKER"]) {
            help.expect_stdout(text);
        }
    }

    #[test]
    fn of_a_command_tells_how_to_use_it() {
        for command in COMMANDS {
            Run::vcuda([command, "--help"])
                .run()
                .expect_code(0)
                .expect_stdout(&format!("Usage: vcuda {command}"));
        }
        for command in ["info", "calls", "json"] {
            Run::vcuda(["trace", command, "--help"])
                .run()
                .expect_code(0)
                .expect_stdout(&format!("Usage: vcuda trace {command}"));
        }
    }

    #[test]
    fn the_version_is_a_line() {
        let version = Run::vcuda(["--version"]).run();
        version.expect_code(0).expect_stdout("vcuda ");
        assert_eq!(version.stdout.lines().count(), 1);
    }

    #[test]
    fn there_are_completions_for_each_shell() {
        for shell in ["bash", "zsh", "fish"] {
            let script = Run::vcuda(["completions", shell]).run();
            script.expect_code(0).expect_stdout("vcuda");
            for command in COMMANDS {
                script.expect_stdout(command);
            }
        }
    }

    #[test]
    fn bash_accepts_its_completions() {
        Run::shell("vcuda completions bash | bash -n")
            .run()
            .expect_code(0);
    }

    #[test]
    fn there_is_a_man_page_for_each_command() {
        let folder = temporary_folder();
        let pages = folder.path().join("man1");
        Run::vcuda(["man"]).arg(&pages).run().expect_code(0);
        assert!(pages.join("vcuda.1").exists());
        for command in COMMANDS {
            let page = fs::read_to_string(pages.join(format!("vcuda-{command}.1"))).unwrap();
            assert!(page.contains(".TH"), "{page}");
        }
    }
}

mod mistakes {
    use super::*;

    #[test]
    fn an_unknown_command_is_named() {
        Run::vcuda(["frobnicate"])
            .run()
            .expect_code(2)
            .expect_stderr("frobnicate");
    }

    #[test]
    fn no_command_shows_the_help() {
        Run::vcuda::<&str>([])
            .run()
            .expect_code(2)
            .expect_stderr("Usage: vcuda");
    }

    #[test]
    fn an_unknown_option_is_named() {
        Run::vcuda(["replay", "--frobnicate", "t.vcuda"])
            .run()
            .expect_code(2)
            .expect_stderr("--frobnicate");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = temporary_folder();
        for command in ["run", "record"] {
            Run::vcuda([command, "./nonexistent"])
                .current_dir(folder.path())
                .run()
                .expect_code(2)
                .expect_stderr("vcuda: ./nonexistent could not be started: No such file");
        }
    }

    #[test]
    fn a_folder_is_no_program() {
        Run::vcuda(["run", "/"])
            .run()
            .expect_code(2)
            .expect_stderr("vcuda: / could not be started");
    }
}

mod the_exit_code_of_a_program {
    use super::*;

    #[test]
    fn is_passed_on() {
        let folder = temporary_folder();
        for code in [0, 1, 2, 77, 255] {
            let exit = format!("exit {code}");
            for command in ["run", "record"] {
                Run::vcuda([command, "sh", "-c", &exit])
                    .current_dir(folder.path())
                    .run()
                    .expect_code(code);
            }
        }
    }

    #[test]
    fn is_that_of_a_shell_where_a_signal_ended_it() {
        let folder = temporary_folder();
        Run::vcuda(["record", "sh", "-c", "kill -15 $$"])
            .current_dir(folder.path())
            .run()
            .expect_code(128 + 15)
            .expect_stderr("signal 15");
    }

    #[test]
    fn is_passed_on_when_cuda_was_used() {
        Run::shell("vcuda run sh -c '$PROGRAMS/seed && exit 42'")
            .run()
            .expect_code(42);
    }
}

mod arguments_of_a_program {
    use super::*;

    #[test]
    fn are_its_own_even_if_they_look_like_options() {
        let folder = temporary_folder();
        for command in ["run", "record"] {
            Run::vcuda([command, "echo", "-o", "--help", "x y"])
                .current_dir(folder.path())
                .run()
                .expect_code(0)
                .expect_stdout("-o --help x y\n");
        }
    }

    #[test]
    fn programs_are_found_in_the_path() {
        Run::vcuda(["run", "true"]).run().expect_code(0);
    }
}

mod output {
    use super::*;

    #[test]
    fn a_reader_that_goes_away_is_no_failure() {
        let folder = temporary_folder();
        let script = "vcuda record -o t.vcuda $PROGRAMS/cross_thread_sync 100 2>/dev/null || exit 9
             set -o pipefail
             vcuda trace calls t.vcuda | head -1 >/dev/null || exit 1
             vcuda trace json t.vcuda | head -c 10 >/dev/null || exit 2
             vcuda trace info t.vcuda | true || exit 3
             vcuda replay t.vcuda | true || exit 4
             vcuda doctor | true || exit 5
             vcuda analyze $PROGRAMS/seed | head -1 >/dev/null || exit 6
             vcuda completions bash | true || exit 7
             vcuda --help | true || exit 8";
        let result = Run::shell("exec bash -c \"$SCRIPT\"")
            .env("SCRIPT", script)
            .current_dir(folder.path())
            .run();
        result.expect_code(0);
        assert_eq!(result.stderr, "");
    }

    #[test]
    fn a_full_disk_is_told() {
        let folder = temporary_folder();
        Run::shell("vcuda record -o t.vcuda $PROGRAMS/seed")
            .current_dir(folder.path())
            .run()
            .expect_code(0);
        for command in [
            "trace info t.vcuda",
            "trace calls t.vcuda",
            "trace json t.vcuda",
            "replay t.vcuda",
            "doctor",
            "analyze $PROGRAMS/seed",
            "completions zsh",
            "man pages",
            "shims shims",
        ] {
            Run::shell(&format!("vcuda {command} >/dev/full"))
                .current_dir(folder.path())
                .run()
                .expect_code(2)
                .expect_stderr("No space left on device");
        }
    }
}

mod doctor {
    use super::*;

    #[test]
    fn finds_an_installation_that_works() {
        Run::vcuda(["doctor"])
            .run()
            .expect_code(0)
            .expect_stdout("libvcuda.so")
            .expect_stdout("answers, with 1 CPU device")
            .expect_stdout("Programs run");
    }

    #[test]
    fn says_what_does_not_work() {
        Run::vcuda(["doctor"])
            .env("VCUDA_WORKER", "/nonexistent/vcuda")
            .run()
            .expect_code(1)
            .expect_stdout("! worker")
            .expect_stdout("/nonexistent/vcuda could not be started");
    }

    #[test]
    fn starts_as_many_devices_as_programs_get() {
        Run::vcuda(["doctor"])
            .env("VCUDA_CPU_DEVICES", "3")
            .run()
            .expect_code(0)
            .expect_stdout("answers, with 3 CPU devices");
    }
}

mod an_installation {
    use super::*;
    use std::os::unix::fs::symlink;

    /// bin/vcuda and lib/libvcuda.so, as packages install them.
    #[test]
    fn may_have_the_library_in_a_lib_folder() {
        let folder = temporary_folder();
        for name in ["bin", "lib"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::copy(vcuda_tests::vcuda(), folder.path().join("bin/vcuda")).unwrap();
        fs::copy(
            vcuda_tests::library(),
            folder.path().join("lib/libvcuda.so"),
        )
        .unwrap();
        Run::new(folder.path().join("bin/vcuda"))
            .arg("run")
            .arg(program("vector_add"))
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .run()
            .expect_pass("vector_add");
    }

    #[test]
    fn may_be_linked_to() {
        let folder = temporary_folder();
        let link = folder.path().join("vcuda");
        symlink(vcuda_tests::vcuda(), &link).unwrap();
        Run::new(&link)
            .arg("run")
            .arg(program("vector_add"))
            .run()
            .expect_pass("vector_add");
    }

    #[test]
    fn without_the_library_says_what_is_missing() {
        let folder = temporary_folder();
        let command = folder.path().join("vcuda");
        fs::copy(vcuda_tests::vcuda(), &command).unwrap();
        Run::new(&command)
            .arg("run")
            .arg("true")
            .run()
            .expect_code(2)
            .expect_stderr("libvcuda.so is not beside");
    }

    #[test]
    fn without_a_folder_for_caches_uses_the_one_for_temporary_files() {
        let folder = temporary_folder();
        Run::vcuda(["run"])
            .arg(program("vector_add"))
            .env("XDG_CACHE_HOME", "/proc/no/such")
            .env("TMPDIR", folder.path())
            .run()
            .expect_pass("vector_add");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
