// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a C prototype to a Rust signature with the same calling convention.
//!
//! Pointers to structures become `*mut c_void`, and enumerations become `c_int`: what matters here is how a value is passed,
//! and whoever writes the body will bring the types.

use vcuda_api::Returns;

/// Sorted by name.
const PROTOTYPES: &str = include_str!("prototypes.tsv");

/// Types that are pointers to something opaque, or to functions.
const HANDLES: &[&str] = &[
    "CUarray",
    "CUasyncCallback",
    "CUasyncCallbackHandle",
    "CUcontext",
    "CUdevResourceDesc",
    "CUevent",
    "CUexternalMemory",
    "CUexternalSemaphore",
    "CUfunction",
    "CUgraph",
    "CUgraphDeviceNode",
    "CUgraphExec",
    "CUgraphNode",
    "CUgraphicsResource",
    "CUgreenCtx",
    "CUhostFn",
    "CUkernel",
    "CUlibrary",
    "CUlinkState",
    "CUlogsCallback",
    "CUlogsCallbackHandle",
    "CUmemoryPool",
    "CUmipmappedArray",
    "CUmodule",
    "CUoccupancyB2DSize",
    "CUstream",
    "CUstreamCallback",
    "CUsurfref",
    "CUtexref",
    "CUuserObject",
    "cudaArray_const_t",
    "cudaArray_t",
    "cudaAsyncCallback",
    "cudaAsyncCallbackHandle_t",
    "cudaEvent_t",
    "cudaExternalMemory_t",
    "cudaExternalSemaphore_t",
    "cudaGraphExec_t",
    "cudaGraphNode_t",
    "cudaGraph_t",
    "cudaGraphicsResource_t",
    "cudaHostFn_t",
    "cudaKernel_t",
    "cudaLibrary_t",
    "cudaLogsCallbackHandle",
    "cudaLogsCallback_t",
    "cudaMemPool_t",
    "cudaMipmappedArray_const_t",
    "cudaMipmappedArray_t",
    "cudaStreamCallback_t",
    "cudaStream_t",
    "cudaUserObject_t",
];

/// Other types that are passed by value, and the Rust types for them; the structures are those of `skeletons.rs.in`.
const VALUES: &[(&str, &str)] = &[
    ("void", "c_void"),
    ("char", "c_char"),
    ("unsigned char", "c_uchar"),
    ("unsigned short", "c_ushort"),
    ("int", "c_int"),
    ("unsigned int", "c_uint"),
    ("unsigned long long", "c_ulonglong"),
    ("float", "f32"),
    ("double", "f64"),
    ("size_t", "usize"),
    ("cuuint32_t", "u32"),
    ("cuuint64_t", "u64"),
    ("CUdevice", "c_int"),
    ("CUdeviceptr", "c_ulonglong"),
    ("CUmemGenericAllocationHandle", "c_ulonglong"),
    ("CUsurfObject", "c_ulonglong"),
    ("CUtexObject", "c_ulonglong"),
    ("cudaSurfaceObject_t", "c_ulonglong"),
    ("cudaTextureObject_t", "c_ulonglong"),
    ("dim3", "Dim3"),
    ("struct cudaExtent", "Extent"),
    ("struct cudaPitchedPtr", "PitchedPtr"),
    ("struct cudaMemLocation", "MemLocation"),
    ("CUmemLocation", "MemLocation"),
    ("struct cudaChannelFormatDesc", "ChannelFormatDesc"),
    ("cudaIpcEventHandle_t", "IpcHandle"),
    ("cudaIpcMemHandle_t", "IpcHandle"),
    ("CUipcEventHandle", "IpcHandle"),
    ("CUipcMemHandle", "IpcHandle"),
];

/// The C prototype of a function of CUDA 13.0, without its name: `cudaError_t (void **, size_t)`.
pub(super) fn of(name: &str) -> Option<&'static str> {
    // The twins for per-thread default streams have the signatures of the plain names.
    let base = name
        .strip_suffix("_ptsz")
        .or_else(|| name.strip_suffix("_ptds"))
        .unwrap_or(name);
    PROTOTYPES
        .lines()
        .find_map(|line| line.strip_prefix(base)?.strip_prefix('\t'))
}

/// Parameter types and return type in Rust; `None` for the return type stands for `()`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signature {
    pub params: Vec<String>,
    pub returns: Option<String>,
}

impl Signature {
    pub fn parse(prototype: &str) -> Option<Self> {
        let (returns, params) = prototype.split_once('(')?;
        let params = params.trim().strip_suffix(')')?;
        let params = match params.trim() {
            "" | "void" => Vec::new(),
            params => params.split(',').map(rust_type).collect(),
        };
        let returns = rust_type(returns);
        Some(Self {
            params,
            returns: (returns != "c_void").then_some(returns),
        })
    }

    /// For a function whose prototype is not known.
    pub fn unknown(returns: Option<Returns>) -> Self {
        let returns = match returns {
            None | Some(Returns::Error { .. }) => Some("c_int"),
            Some(Returns::Void) => None,
            Some(Returns::Pointer) => Some("*mut c_void"),
            Some(Returns::String) => Some("*const c_char"),
            Some(Returns::Flag) => Some("c_char"),
            Some(Returns::Channel) => Some("ChannelFormatDesc"),
        };
        Self {
            params: Vec::new(),
            returns: returns.map(str::to_owned),
        }
    }
}

/// `const void *const *` becomes `*const *const c_void`.
fn rust_type(c_type: &str) -> String {
    let mut levels = c_type.split('*').map(str::trim);
    let base = levels.next().unwrap_or_default();
    let mut is_const = base.starts_with("const ");
    let base = base.strip_prefix("const ").unwrap_or(base);
    let mut levels = levels.peekable();
    let mut rust = if HANDLES.contains(&base) {
        "*mut c_void".to_owned()
    } else if let Some((_, rust)) = VALUES.iter().find(|(c, _)| *c == base) {
        (*rust).to_owned()
    } else if levels.peek().is_some() {
        "c_void".to_owned()
    } else {
        "c_int".to_owned()
    };
    for qualifier in levels {
        rust = format!("{} {rust}", if is_const { "*const" } else { "*mut" });
        is_const = qualifier.contains("const");
    }
    rust
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(prototype: &str) -> (Vec<String>, Option<String>) {
        let signature = Signature::parse(prototype).unwrap();
        (signature.params, signature.returns)
    }

    #[test]
    fn types_are_passed_as_c_passes_them() {
        let (params, returns) = signature(
            "cudaError_t (const void *, dim3, dim3, void **, size_t, cudaStream_t, enum cudaMemcpyKind)",
        );
        assert_eq!(
            params,
            [
                "*const c_void",
                "Dim3",
                "Dim3",
                "*mut *mut c_void",
                "usize",
                "*mut c_void",
                "c_int"
            ]
        );
        assert_eq!(returns.as_deref(), Some("c_int"));
    }

    #[test]
    fn pointers_keep_their_depth_and_their_const() {
        let (params, _) = signature(
            "CUresult (const void *const *, const char **, CUfunction *, struct cudaDeviceProp *)",
        );
        assert_eq!(
            params,
            [
                "*const *const c_void",
                "*mut *const c_char",
                "*mut *mut c_void",
                "*mut c_void"
            ]
        );
    }

    #[test]
    fn nothing_taken_and_strings_returned() {
        assert_eq!(
            signature("const char * (cudaError_t)"),
            (vec!["c_int".into()], Some("*const c_char".into()))
        );
        assert_eq!(signature("void (void)"), (vec![], None));
    }

    #[test]
    fn every_prototype_in_the_table_can_be_read() {
        let lines = PROTOTYPES.lines().filter(|line| !line.starts_with('#'));
        let mut count = 0;
        for line in lines {
            let (name, prototype) = line.split_once('\t').expect("two columns");
            assert_eq!(of(name), Some(prototype));
            assert!(Signature::parse(prototype).is_some(), "{line}");
            count += 1;
        }
        assert!(count > 700, "{count} prototypes");
    }

    #[test]
    fn twins_have_the_signature_of_the_plain_name() {
        assert_eq!(of("cudaMemcpy_ptds"), of("cudaMemcpy"));
        assert!(of("cudaMemcpy_ptds").is_some());
    }
}
