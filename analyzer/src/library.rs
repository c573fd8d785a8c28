// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which CUDA library a symbol or a file name belongs to.

use serde::Serialize;

/// A library of the CUDA toolkit, or one that comes with the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Library {
    /// libcudart: the Runtime API.
    Runtime,
    /// libcuda.so.1: the Driver API.
    Driver,
    /// libcublas
    Cublas,
    /// libcublasLt
    CublasLt,
    /// libcudnn and its parts
    Cudnn,
    /// libcusparse
    Cusparse,
    /// libcusparseLt
    CusparseLt,
    /// libcusolver
    Cusolver,
    /// libcufft
    Cufft,
    /// libcurand
    Curand,
    /// libnccl
    Nccl,
    /// libnvrtc
    Nvrtc,
    /// libnvJitLink
    NvJitLink,
    /// libnvjpeg
    Nvjpeg,
    /// libnpp and its parts
    Npp,
    /// libcutensor
    Cutensor,
    /// libcupti
    Cupti,
    /// libnvToolsExt
    Nvtx,
    /// libcufile
    Cufile,
    /// libnvidia-ml.so.1
    Nvml,
}

/// What is known of one library.
struct Facts {
    library: Library,
    /// What its file names begin with.
    stem: &'static str,
    /// What its symbols begin with; an upper case letter or an underscore follows.
    prefixes: &'static [&'static str],
    /// What its functions return when they cannot do what is asked: the "not supported" status, or where there is none the
    /// one for an internal error.
    not_supported: i32,
}

const fn facts(
    library: Library,
    stem: &'static str,
    prefixes: &'static [&'static str],
    not_supported: i32,
) -> Facts {
    Facts {
        library,
        stem,
        prefixes,
        not_supported,
    }
}

/// Where one prefix begins another, the longer one comes first.
const LIBRARIES: &[Facts] = &[
    facts(Library::Runtime, "libcudart", &["cuda", "__cuda"], 801),
    facts(Library::CublasLt, "libcublasLt", &["cublasLt"], 15),
    facts(Library::Cublas, "libcublas", &["cublas"], 15),
    facts(Library::Cudnn, "libcudnn", &["cudnn"], 3000),
    facts(Library::CusparseLt, "libcusparseLt", &["cusparseLt"], 10),
    facts(Library::Cusparse, "libcusparse", &["cusparse"], 10),
    facts(Library::Cusolver, "libcusolver", &["cusolver"], 9),
    facts(Library::Cufft, "libcufft", &["cufft"], 16),
    facts(Library::Curand, "libcurand", &["curand"], 999),
    facts(Library::Cutensor, "libcutensor", &["cutensor"], 15),
    facts(Library::Cupti, "libcupti", &["cupti"], 27),
    facts(Library::Cufile, "libcufile", &["cuFile"], 5027),
    facts(Library::Driver, "libcuda", &["cu"], 801),
    facts(Library::Nccl, "libnccl", &["nccl", "pnccl"], 3),
    facts(Library::Nvrtc, "libnvrtc", &["nvrtc"], 11),
    facts(
        Library::NvJitLink,
        "libnvJitLink",
        &["nvJitLink", "__nvJitLink"],
        6,
    ),
    facts(Library::Nvjpeg, "libnvjpeg", &["nvjpeg"], 9),
    facts(Library::Npp, "libnpp", &["npp", "nppi", "npps"], -9999),
    facts(Library::Nvtx, "libnvToolsExt", &["nvtx"], 0),
    facts(Library::Nvml, "libnvidia-ml", &["nvml"], 3),
];

impl Library {
    fn facts(self) -> Option<&'static Facts> {
        LIBRARIES.iter().find(|facts| facts.library == self)
    }

    /// Its name as people write it: `libcublas`.
    pub fn stem(self) -> &'static str {
        self.facts().map_or("", |facts| facts.stem)
    }

    /// Whether libvcuda.so stands in for it.
    pub fn is_supplied(self) -> bool {
        matches!(self, Self::Runtime | Self::Driver)
    }

    /// The status that its functions return when they cannot do what is asked.
    pub(crate) fn not_supported(self) -> i32 {
        self.facts().map_or(1, |facts| facts.not_supported)
    }

    /// The library that a file name or version node stands for, also when a packager has put a hash into it:
    /// `libcudart.so.12`, `libcudart-53d54daa.so.12.6.68` and `libcudart.3eda8113.so.13` are all the runtime.
    pub fn of_file_name(name: &str) -> Option<Self> {
        let stem = stem(name)?;
        LIBRARIES
            .iter()
            .find(|facts| match facts.library {
                // These come in parts: libcudnn_ops.so.9, libnppial.so.12.
                Self::Cudnn => stem == facts.stem || stem.starts_with("libcudnn_"),
                Self::Npp => stem.starts_with(facts.stem),
                _ => stem == facts.stem,
            })
            .map(|facts| facts.library)
    }

    /// The library whose naming convention `symbol` follows.
    pub fn of_symbol(symbol: &str) -> Option<Self> {
        let follows = |prefix: &&str| {
            let rest = symbol.strip_prefix(prefix);
            rest.and_then(|rest| rest.bytes().next())
                .is_some_and(|next| next.is_ascii_uppercase() || next == b'_')
        };
        LIBRARIES
            .iter()
            .find(|facts| facts.prefixes.iter().any(follows))
            .map(|facts| facts.library)
    }
}

/// `libname` of `libname.so.1.2`, without the hash of eight hexadecimal digits that a packager may have put in.
fn stem(name: &str) -> Option<&str> {
    let (stem, version) = name.split_once(".so")?;
    if !(version.is_empty() || version.starts_with('.')) {
        return None;
    }
    let hash = stem
        .len()
        .checked_sub(9)
        .and_then(|at| stem.split_at_checked(at));
    Some(match hash {
        Some((short, hash)) if is_hash(hash) => short,
        _ => stem,
    })
}

/// `-53d54daa` or `.3eda8113`.
fn is_hash(text: &str) -> bool {
    text.strip_prefix(['-', '.'])
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_in_the_file_name_does_not_hide_the_library() {
        for name in [
            "libcudart.so.12",
            "libcudart-53d54daa.so.12.6.68",
            "libcudart.3eda8113.so.13",
            "libcudart.so",
        ] {
            assert_eq!(
                Library::of_file_name(name),
                Some(Library::Runtime),
                "{name}"
            );
        }
        for name in [
            "libcudart_static.a",
            "libcudart.sox",
            "cudart",
            "libc.so.6",
            "libcudartx.so.1",
            "é.so",
        ] {
            assert_eq!(Library::of_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn similar_names_are_told_apart() {
        assert_eq!(
            Library::of_file_name("libcublasLt.so.12"),
            Some(Library::CublasLt)
        );
        assert_eq!(
            Library::of_file_name("libcublas.so.12"),
            Some(Library::Cublas)
        );
        assert_eq!(
            Library::of_file_name("libcudnn_ops.so.9"),
            Some(Library::Cudnn)
        );
        assert_eq!(Library::of_file_name("libcuda.so.1"), Some(Library::Driver));
    }

    #[test]
    fn symbols_are_recognised_by_their_prefix() {
        for (symbol, library) in [
            ("cudaMalloc", Some(Library::Runtime)),
            ("__cudaRegisterFatBinary", Some(Library::Runtime)),
            ("cuMemAlloc_v2", Some(Library::Driver)),
            ("cublasLtMatmul", Some(Library::CublasLt)),
            ("cublasSgemm_v2", Some(Library::Cublas)),
            ("cusolverDnCreate", Some(Library::Cusolver)),
            ("ncclAllReduce", Some(Library::Nccl)),
            ("cut", None),
            ("custom_function", None),
            ("cudaq", None),
            ("malloc", None),
        ] {
            assert_eq!(Library::of_symbol(symbol), library, "{symbol}");
        }
    }
}
