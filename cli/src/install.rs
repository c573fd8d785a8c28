// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the parts of an installation are, and the shim folder that belongs to it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use vcuda_analyzer::{Library, Options, analyze};

/// The library's file name.
pub const LIBRARY: &str = "libvcuda.so";

/// libvcuda.so: beside this command, or in the lib folder beside its bin folder.
pub fn library() -> anyhow::Result<PathBuf> {
    let command = command()?;
    let folder = command.parent().unwrap_or(Path::new("/"));
    let candidates = [
        folder.join(LIBRARY),
        folder.join("../lib").join(LIBRARY),
        folder.join("../lib/vcuda").join(LIBRARY),
    ];
    match candidates.iter().find(|c| c.is_file()) {
        Some(found) => Ok(found.canonicalize()?),
        None => bail!(
            "{LIBRARY} is not beside {}, where it is looked for. Build it with `cargo build --release`, or install both into one folder.",
            command.display()
        ),
    }
}

/// This command, which is also the worker.
pub fn command() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("The path of the vcuda command is not known")
}

/// `vcuda shims DIR`
pub fn write_shims(folder: &Path) -> anyhow::Result<ExitCode> {
    make_shims(folder, &library()?)?;
    writeln!(
        std::io::stdout(),
        "The shims are in {0}. Use them with LD_LIBRARY_PATH={0}.",
        folder.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

fn make_shims(folder: &Path, library: &Path) -> anyhow::Result<()> {
    vcuda_analyzer::write_shims(folder, library).with_context(|| {
        format!(
            "The shim libraries could not be written into {}",
            folder.display()
        )
    })?;
    Ok(())
}

/// The shim folder for `vcuda run`, in the user's cache; made when it is not there.
pub fn shims(library: &Path) -> anyhow::Result<PathBuf> {
    let name = format!("shims-{:016x}", fingerprint(library)?);
    let mut failure = None;
    for cache in cache_folders() {
        let folder = cache.join(&name);
        if folder.is_dir() {
            return Ok(folder);
        }
        // Another vcuda may be making the same folder: each makes its own, the first to rename wins.
        let fresh = cache.join(format!("{name}.{}", std::process::id()));
        let made = make_shims(&fresh, library);
        let renamed = made.and_then(|()| match std::fs::rename(&fresh, &folder) {
            Err(_) if folder.is_dir() => Ok(()),
            other => Ok(other?),
        });
        let _ = std::fs::remove_dir_all(&fresh);
        match renamed {
            Ok(()) => return Ok(folder),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| anyhow::anyhow!("No cache folder is known.")))
        .context("Make XDG_CACHE_HOME or TMPDIR name a folder that can be written to")
}

/// Adds shims for a program that is linked with libcudart under a name of its own, as Python wheels
/// are (libcudart-53d54daa.so.12.6.68), and whose file is not there.
pub fn add_shims_for(program: &Path, folder: &Path) -> anyhow::Result<()> {
    if !program.is_file() {
        // A name that is looked up on the PATH, or a mistake that starting it will show.
        return Ok(());
    }
    let mut options = Options::from_env();
    options.kernel_budget = 0;
    let reports = analyze(&[program], &options);
    let Some(report) = reports.first().and_then(|r| r.report()) else {
        // A script.
        return Ok(());
    };
    let to_make = report.libraries_to_make();
    for needed in &report.libraries {
        let Some(nodes) = to_make.get(needed.name.as_str()) else {
            continue;
        };
        // A needed name with a slash is a path, which the loader does not look for in any folder.
        let is_name = !needed.name.contains('/');
        if needed.library == Some(Library::Runtime)
            && is_name
            && !folder.join(&needed.name).exists()
        {
            let nodes: Vec<&str> = nodes.iter().copied().collect();
            vcuda_analyzer::write_shim(folder, &needed.name, &nodes)?;
        }
    }
    Ok(())
}

fn cache_folders() -> Vec<PathBuf> {
    let home = std::env::home_dir().map(|home| home.join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or(home);
    let user = rustix::process::getuid().as_raw();
    let temporary = std::env::temp_dir().join(format!("vcuda-{user}"));
    cache
        .map(|c| c.join("vcuda"))
        .into_iter()
        .chain([temporary])
        .collect()
}

/// Shims point to one library and are written by one version of this command.
fn fingerprint(library: &Path) -> anyhow::Result<u64> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    library.hash(&mut hasher);
    vcuda_api::TABLE_HASH.hash(&mut hasher);
    let command = std::fs::metadata(command()?)?;
    command.modified()?.hash(&mut hasher);
    Ok(hasher.finish())
}
