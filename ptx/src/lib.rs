// SPDX-License-Identifier: MIT OR Apache-2.0
//! PTX on a CPU: parse, check, lower, and run grids of thread blocks.
//!
//! NVIDIA's PTX is a virtual machine language; this crate is a machine for it. It works in three
//! stages, each with a plain data structure at its end:
//!
//! 1. [`parse`](parse()) turns text into a syntax tree ([`Module`]) and knows no instruction.
//! 2. Lowering, when [`Program::kernel`] is first asked for a kernel, resolves names, checks
//!    widths, gives every instruction the function that executes it, and allocates registers.
//! 3. [`Engine::run`] executes thread blocks on all cores. A warp's 32 lanes run together: a
//!    register is an array with one value per lane, and one dispatch executes one instruction for
//!    all lanes.
//!
//! The crate knows nothing of CUDA's programming interface, of processes or of the rest of vcuda.
//! Kernels are not trusted: a device address is never a host pointer, every access is checked, and
//! whatever a kernel does ends in a result or a [`Fault`].
//!
//! ```
//! use vcuda_ptx::{AddressSpace, Engine, Launch, Limits, Program, Region, parse};
//!
//! let source = b".version 8.0\n.target sm_80\n.address_size 64\n
//! .visible .entry twice(.param .u64 data)
//! {
//!     .reg .b32 %r<3>; .reg .b64 %rd<4>;
//!     ld.param.u64 %rd1, [data];
//!     mov.u32 %r1, %tid.x;
//!     mul.wide.u32 %rd2, %r1, 4;
//!     add.s64 %rd3, %rd1, %rd2;
//!     ld.global.u32 %r2, [%rd3];
//!     add.u32 %r2, %r2, %r2;
//!     st.global.u32 [%rd3], %r2;
//!     ret;
//! }";
//! let base = 0x1_0000_0000;
//! let space = AddressSpace::new(vec![Region::anonymous(base, 1 << 20)?])?;
//! space.allocate(base, 8)?;
//! space.write(base, &[1, 0, 0, 0, 21, 0, 0, 0])?;
//!
//! let program = Program::load(parse(source)?, &space, &mut |_, _, _| unreachable!())?;
//! let kernel = program.kernel("twice")?;
//! let launch = Launch {
//!     grid: [1, 1, 1], block: [2, 1, 1], dynamic_shared: 0, params: &base.to_le_bytes(), cooperative: false,
//! };
//! Engine::new(2).run(&space, &kernel, &launch, &Limits::default())?;
//!
//! let mut result = [0; 8];
//! space.read(base, &mut result)?;
//! assert_eq!(result, [2, 0, 0, 0, 42, 0, 0, 0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod exec;
mod heap;
mod image;
mod kernel;
mod lower;
mod memory;
mod numeric;
pub mod parse;
mod program;

pub use exec::{Assertion, Engine, Fault, Lanes, Launch, Limits, Output, Place, SourceLine};
pub use exec::{Checks, Finding, Findings, Mistake};
pub use heap::Heap;
pub use image::{Channel, Edge, Image, Images, Level, Sampler, Shape};
pub use kernel::{Kernel, Param};
pub use memory::{ALLOCATION_ALIGNMENT, AddressSpace, MemoryError, Region};
pub use parse::{Module, ParseError, parse};
pub use program::{KernelError, LoadError, Program};
