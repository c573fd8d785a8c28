// SPDX-License-Identifier: MIT OR Apache-2.0
//! The nouns of the protocol: addresses, handles, places and what replies carry.
//!
//! Every handle is named by the client and is an index into the session's own tables on the host,
//! never a pointer. Any value may arrive; the host looks it up and answers with an error when it
//! names nothing.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::layout::{ARRAYS_OFFSET, MAX_ARRAYS_LEN};

/// A CUDA error code, as both the Runtime API (since 10.1) and the Driver API number them.
///
/// The protocol does not interpret codes; zero is success (CUDA Driver API, `CUresult`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Status(pub u32);

impl Status {
    pub const SUCCESS: Status = Status(0);

    pub fn is_success(self) -> bool {
        self == Self::SUCCESS
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({})", self.0)
    }
}

/// Raw bytes: hexadecimal in JSON, length and bytes on the wire.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let mut hex = String::with_capacity(self.0.len() * 2);
            for byte in &self.0 {
                hex.push_str(&format!("{byte:02x}"));
            }
            serializer.serialize_str(&hex)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// A stream of one device. Stream 0 of a device is its legacy default stream, which waits for the
/// device's blocking streams and which they wait for; all others are created by the client, the
/// per-thread default streams among them (CUDA Driver API, section "Stream synchronization
/// behavior").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stream {
    pub device: u32,
    pub id: u32,
}

impl Stream {
    /// The id of each device's legacy default stream.
    pub const LEGACY: u32 = 0;
}

/// Bytes per row and per slice of a pitched place. Both are ignored where the extent has one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pitch {
    pub row: u64,
    pub slice: u64,
}

/// One side of a copy. New variants come last, so that older traces are still read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Device, pinned or managed memory, by its device address.
    Device { address: u64, pitch: Pitch },
    /// The shared window, by offset: the staging area, through which pageable memory travels.
    Window { offset: u64, pitch: Pitch },
    /// As a source: the bytes themselves, rows packed.
    Inline(Bytes),
    /// As a destination: the bytes return in the reply, rows packed. At most
    /// [`crate::layout::MAX_REPLY_DATA`] bytes.
    Reply,
    /// Memory of the client that lies where it lies, in pieces that its virtual machine's driver
    /// has made known under this number.
    Guest { id: u64, offset: u64, pitch: Pitch },
}

impl Place {
    /// Unpitched device memory.
    pub fn device(address: u64) -> Self {
        Place::Device {
            address,
            pitch: Pitch::default(),
        }
    }

    /// Unpitched window memory.
    pub fn window(offset: u64) -> Self {
        Place::Window {
            offset,
            pitch: Pitch::default(),
        }
    }
}

/// A box of `width` bytes, `height` rows and `depth` slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    pub width: u64,
    pub height: u64,
    pub depth: u64,
}

impl Extent {
    pub fn linear(bytes: u64) -> Self {
        Extent {
            width: bytes,
            height: 1,
            depth: 1,
        }
    }

    /// All bytes of the box, or `None` where that does not fit 64 bits.
    pub fn bytes(self) -> Option<u64> {
        self.width.checked_mul(self.height)?.checked_mul(self.depth)
    }
}

/// Three dimensions of a grid or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dim3 {
    pub x: u32,
    pub y: u32,
    pub z: u32,
}

/// Who besides the device uses an allocation in the shared window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostMemory {
    /// Page-locked host memory (`cudaHostAlloc`).
    Pinned,
    /// Managed memory (`cudaMallocManaged`).
    Managed,
}

/// What a module is loaded from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Image {
    /// The bytes themselves.
    Inline(Bytes),
    /// Bytes in the shared window.
    Window { offset: u64, len: u64 },
}

/// What a device is, for `cudaGetDeviceProperties`, `cuDeviceGetAttribute` and relatives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    pub name: String,
    pub uuid: [u8; 16],
    pub total_memory: u64,
    /// The client hands out addresses for device allocations from this range.
    pub heap_base: u64,
    pub heap_len: u64,
    /// `CUdevice_attribute` number and value, ascending by number. What is absent is not supported.
    pub attributes: Vec<(u32, i32)>,
    /// Highest CUDA version that the device side supports, as `1000 * major + 10 * minor`.
    pub driver_version: u32,
}

impl DeviceInfo {
    /// First address and length of the range from which the client takes arrays' addresses.
    pub fn arrays(&self) -> (u64, u64) {
        (
            self.heap_base.saturating_add(ARRAYS_OFFSET),
            self.heap_len.min(MAX_ARRAYS_LEN),
        )
    }
}

/// Bytes of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryInfo {
    pub free: u64,
    pub total: u64,
}

/// The outcome of loading a module; the logs are what `CU_JIT_INFO_LOG_BUFFER` and
/// `CU_JIT_ERROR_LOG_BUFFER` receive. A module that did not load has a status and its error log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    pub status: Status,
    pub info_log: String,
    pub error_log: String,
    /// Names of the kernels, for `cuModuleEnumerateFunctions`-like queries.
    pub kernels: u32,
}

/// What `cuFuncGetAttribute` and a launch need to know of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionInfo {
    /// Offset and size in bytes of each parameter in the argument buffer.
    pub params: Vec<(u32, u32)>,
    pub param_bytes: u32,
    pub max_threads_per_block: u32,
    pub static_shared: u32,
    pub const_bytes: u32,
    pub local_bytes: u32,
    pub registers: u32,
    /// `10 * major + minor` of the virtual architecture (`.target`, what libraries choose their launch shapes by) and of the
    /// architecture of the code that runs.
    pub ptx_version: u32,
    pub binary_version: u32,
    /// Bytes of dynamic shared memory that a launch may ask for without and with opting in.
    pub max_dynamic_shared: u32,
}

/// Where a module's global variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalInfo {
    pub address: u64,
    pub size: u64,
}

/// What a texture or surface object stands for. Numbers are those of the CUDA Driver API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Texture {
    /// `CUarray_format`
    pub format: u32,
    /// Channels of a texel.
    pub channels: u32,
    pub shape: TextureShape,
    /// From the largest to the smallest; at least one.
    pub levels: Vec<TextureLevel>,
    /// `CUaddress_mode` in each direction.
    pub address_modes: [u32; 3],
    /// `CUfilter_mode` within a level and between levels.
    pub filter: u32,
    pub level_filter: u32,
    /// `CU_TRSF_READ_AS_INTEGER`, `CU_TRSF_NORMALIZED_COORDINATES`, `CU_TRSF_SRGB` and so on
    pub flags: u32,
    pub border: [f32; 4],
    pub level_bias: f32,
    pub level_clamp: [f32; 2],
    pub max_anisotropy: u32,
    /// A surface, of one level. How it is read does not matter.
    pub surface: bool,
}

/// What the levels of a texture are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextureShape {
    /// Texels side by side, read by their index alone.
    Buffer,
    /// One, two or three dimensions.
    Plain,
    /// Layers of one or two dimensions; the depth is their number.
    Layered,
    /// The faces of cubes; the depth is the number of all.
    Cube,
}

/// A level of a texture: in device memory, or of an array, by its texels' addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextureLevel {
    pub address: u64,
    pub pitch: Pitch,
    /// Texels in each direction, at least 1.
    pub size: [u32; 3],
}

/// What a command that is answered returns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Device(DeviceInfo),
    Memory(MemoryInfo),
    Module(ModuleInfo),
    Function(FunctionInfo),
    Global(GlobalInfo),
    Milliseconds(f32),
    Count(u32),
    Data(Bytes),
    /// The number of a texture or surface object.
    Object(u64),
}

/// The bytes of a D2H copy that fit a reply, or nothing when they travelled elsewhere.
impl Reply {
    /// A short name for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Reply::Done => "done",
            Reply::Device(_) => "device",
            Reply::Memory(_) => "memory",
            Reply::Module(_) => "module",
            Reply::Function(_) => "function",
            Reply::Global(_) => "global",
            Reply::Milliseconds(_) => "milliseconds",
            Reply::Count(_) => "count",
            Reply::Data(_) => "data",
            Reply::Object(_) => "object",
        }
    }
}
