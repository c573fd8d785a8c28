// SPDX-License-Identifier: MIT OR Apache-2.0
//! The narrow waist: every device command, declared once.
//!
//! A command is a variant of [`Command`]; its fields, its doc and how it is answered stand in the
//! declaration below and nowhere else. Encoding and decoding ([`crate::wire`]), names, trace
//! printing (serde) and the protocol hash all follow from it. Adding a command is adding a variant
//! here and an arm in the executor.

use serde::{Deserialize, Serialize};

use crate::array::Array;
use crate::types::*;

/// When a command is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Never: the client goes on at once, and an error surfaces at a later call, as CUDA's
    /// asynchronous errors do.
    Posted,
    /// As soon as the host has looked at it.
    Prompt,
    /// When device work that was issued before it has finished. It must not hold back commands
    /// that other threads issue after it.
    Waits,
}

macro_rules! commands {
    ($( $(#[$doc:meta])* $name:ident $({ $($(#[$fdoc:meta])* $field:ident : $type:ty),* $(,)? })? => $answer:ident; )*) => {
        /// A device command. See the module's documentation.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Command {
            $( $(#[$doc])* $name $({ $($(#[$fdoc])* $field : $type),* })?, )*
        }

        impl Command {
            /// The variant's name.
            pub fn name(&self) -> &'static str {
                match self { $( Command::$name { .. } => stringify!($name), )* }
            }

            /// When the command is answered by its kind. [`Header::answer`] may ask for less, never
            /// for more: a client may post a command whose answer it does not need.
            pub fn answer(&self) -> Answer {
                match self { $( Command::$name { .. } => Answer::$answer, )* }
            }
        }
    };
}

commands! {
    /// What a device is. Reply: [`Reply::Device`].
    DeviceInfo { device: u32 } => Prompt;
    /// Waits for all work of a device. Reply: [`Reply::Done`], or the device's asynchronous error.
    DeviceSynchronize { device: u32 } => Waits;
    /// Destroys all that the session holds on a device, and clears its sticky error.
    DeviceReset { device: u32 } => Waits;

    /// Allocates device memory at an address that the client chose from the device's heap range.
    /// The address is 256-aligned.
    MemAlloc { device: u32, address: u64, size: u64 } => Posted;
    /// Frees device memory once all work issued before has finished.
    MemFree { device: u32, address: u64 } => Posted;
    /// Allocates memory ordered on a stream (`cudaMallocAsync`).
    MemAllocAsync { stream: Stream, address: u64, size: u64 } => Posted;
    /// Frees memory ordered on a stream.
    MemFreeAsync { stream: Stream, address: u64 } => Posted;
    /// Reply: [`Reply::Memory`].
    MemInfo { device: u32 } => Prompt;
    /// Makes a range of the shared window known as host memory that kernels may use. Its device
    /// address is the window's base plus the offset.
    HostAlloc { kind: HostMemory, offset: u64, size: u64 } => Posted;
    /// Frees what [`Command::HostAlloc`] made, once all work issued before has finished. The reply
    /// says that the window range may be used again.
    HostFree { offset: u64 } => Waits;

    /// Copies a box of bytes. Reply: [`Reply::Data`] where the destination is [`Place::Reply`].
    /// Posted where the client need not know when it is done; `release` names a staging chunk
    /// that the host marks free once it has read it.
    Copy { stream: Stream, dst: Place, src: Place, extent: Extent, release: Option<u32> } => Waits;
    /// Fills rows with a value of 1, 2 or 4 bytes. `extent.width` counts bytes.
    Fill { stream: Stream, address: u64, pitch: Pitch, value: u32, element: u8, extent: Extent } => Posted;

    /// Creates a stream. `blocking` streams wait for the legacy default stream and it for them.
    StreamCreate { stream: Stream, blocking: bool, priority: i32 } => Posted;
    /// Destroys a stream once its work is done.
    StreamDestroy { stream: Stream } => Posted;
    StreamSynchronize { stream: Stream } => Waits;
    /// Success or `CUDA_ERROR_NOT_READY`.
    StreamQuery { stream: Stream } => Prompt;
    /// Later work of the stream waits for the event's latest record (issued before this).
    StreamWaitEvent { stream: Stream, event: u32 } => Posted;

    EventCreate { event: u32, timing: bool } => Posted;
    EventDestroy { event: u32 } => Posted;
    EventRecord { event: u32, stream: Stream } => Posted;
    EventSynchronize { event: u32 } => Waits;
    /// Success or `CUDA_ERROR_NOT_READY`.
    EventQuery { event: u32 } => Prompt;
    /// Reply: [`Reply::Milliseconds`].
    EventElapsed { start: u32, end: u32 } => Prompt;

    /// Says where a managed variable lies of the module that is loaded next under this number: in
    /// memory of [`Command::HostAlloc`], by its device address. Loading gives it its first value.
    ManagedVariable { module: u32, name: String, address: u64 } => Posted;
    /// Loads a fat binary, PTX text or cubin. Reply: [`Reply::Module`], also where it did not load.
    ModuleLoad { device: u32, module: u32, image: Image } => Prompt;
    ModuleUnload { module: u32 } => Posted;
    /// Finds a kernel, checks and lowers it. Reply: [`Reply::Function`].
    FunctionGet { module: u32, function: u32, name: String } => Prompt;
    /// Reply: [`Reply::Global`].
    GlobalGet { module: u32, name: String } => Prompt;
    /// `CUfunction_attribute` number and value.
    FunctionSetAttribute { function: u32, attribute: u32, value: i32 } => Posted;
    /// Blocks of a kernel that fit one multiprocessor. Reply: [`Reply::Count`].
    Occupancy { function: u32, block_size: u32, dynamic_shared: u64 } => Prompt;
    /// Launches a kernel. `params` is the packed argument buffer.
    Launch {
        stream: Stream,
        function: u32,
        grid: Dim3,
        block: Dim3,
        dynamic_shared: u32,
        cooperative: bool,
        params: Bytes,
    } => Posted;

    /// Says when the stream gets here, so that the client calls a function of the program. If the
    /// answer is success, later work of the stream waits for [`Command::HostFunctionDone`].
    HostFunction { stream: Stream, token: u32 } => Waits;
    /// The function of [`Command::HostFunction`] has returned.
    HostFunctionDone { token: u32 } => Posted;

    /// The client is leaving of its own accord; answered when the recording is safely in its file.
    Goodbye => Waits;

    /// Makes a texture or surface object of memory or of an array, for launches that are issued
    /// later. Reply: [`Reply::Object`], the number by which kernels know it, which the device
    /// chooses where `object` is 0. A replay asks for the number that the recording's device chose:
    /// kernels may find it in memory.
    TextureCreate { device: u32, object: u64, texture: Texture } => Prompt;
    /// Launches that are issued later do not know the object any more.
    TextureDestroy { device: u32, object: u64 } => Posted;
    /// How much memory kernels may allocate (`CU_LIMIT_MALLOC_HEAP_SIZE`).
    KernelHeap { device: u32, size: u64 } => Posted;

    /// What there is between a device and a peer whose memory it uses (`CUdevice_P2PAttribute`).
    /// Reply: [`Reply::Count`].
    PeerAttribute { device: u32, peer: u32, attribute: u32 } => Prompt;
    /// Whether kernels of a device may use a peer's memory (`cuCtxEnablePeerAccess`).
    PeerAccess { device: u32, peer: u32, enabled: bool } => Prompt;
    /// How many priorities streams can have, from 0, the lowest, downwards. Reply:
    /// [`Reply::Count`].
    StreamPriorities { device: u32 } => Prompt;
    /// Makes an array. The client chose the addresses of its texels, from the range
    /// [`DeviceInfo::arrays`]; copies name them as those of memory.
    ArrayCreate { device: u32, array: Array } => Prompt;
    /// Destroys an array once all work issued before has finished; the reply says that its
    /// addresses may be used again.
    ArrayDestroy { device: u32, address: u64 } => Waits;
}

/// [`Header::api`] of a command that no function of the program caused.
pub const NO_FUNCTION: u16 = u16::MAX;

/// What stands before each command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Position in the session's one order of commands, from 1 without gaps.
    pub sequence: u64,
    /// The CUDA function that caused the command, by its number in the list of functions, or
    /// [`NO_FUNCTION`].
    pub api: u16,
    /// The calling thread (`gettid`).
    pub thread: u32,
    /// Nanoseconds of the client's monotonic clock since the session began.
    pub time: u64,
    /// Where the reply goes. `None`: posted.
    pub slot: Option<u16>,
}
