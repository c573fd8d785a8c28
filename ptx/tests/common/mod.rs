// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small machine for tests: memory, a program, launches.
#![allow(dead_code, clippy::result_large_err)]

pub mod matrix;
pub mod table;

use std::cell::Cell;
use vcuda_ptx::{
    AddressSpace, Engine, Fault, Kernel, KernelError, Lanes, Launch, Limits, Program, Region, parse,
};

pub const BASE: u64 = 0x10_0000_0000;

pub struct Machine {
    pub space: AddressSpace,
    pub engine: Engine,
    next: Cell<u64>,
}

impl Machine {
    pub fn new() -> Machine {
        let space = AddressSpace::new(vec![Region::anonymous(BASE, 1 << 30).unwrap()]).unwrap();
        Machine {
            space,
            engine: Engine::new(2),
            next: Cell::new(BASE),
        }
    }

    pub fn alloc(&self, bytes: u64) -> u64 {
        let addr = self.next.get();
        self.space.allocate(addr, bytes).unwrap();
        self.next.set((addr + bytes).next_multiple_of(256) + 256);
        addr
    }

    /// Allocates and fills memory.
    pub fn put<T: Plain>(&self, values: &[T]) -> u64 {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.bytes()).collect();
        let addr = self.alloc(bytes.len() as u64);
        self.space.write(addr, &bytes).unwrap();
        addr
    }

    pub fn get<T: Plain>(&self, addr: u64, count: usize) -> Vec<T> {
        let size = std::mem::size_of::<T>();
        let mut bytes = vec![0; count * size];
        self.space.read(addr, &mut bytes).unwrap();
        bytes.chunks(size).map(T::from_bytes).collect()
    }

    pub fn load(&self, source: &str) -> Program {
        self.load_for(source, Lanes::detect())
    }

    pub fn load_for(&self, source: &str, lanes: Lanes) -> Program {
        // For authors: what tests load, to be assembled with ptxas.
        if let Ok(folder) = std::env::var("VCUDA_PTX_SOURCES") {
            use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
            let name = BuildHasherDefault::<DefaultHasher>::default().hash_one(source);
            std::fs::write(format!("{folder}/{name:016x}.ptx"), source).unwrap();
        }
        let module = parse(source.as_bytes()).unwrap();
        let mut place = |_: &str, size: u64, _: u64| Ok(self.alloc(size));
        Program::load_for(module, &self.space, &mut place, lanes).unwrap()
    }

    pub fn run(
        &self,
        kernel: &Kernel,
        grid: [u32; 3],
        block: [u32; 3],
        params: &[Arg],
    ) -> Result<(), Fault> {
        self.run_with(kernel, grid, block, 0, params)
    }

    pub fn run_with(
        &self,
        kernel: &Kernel,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic_shared: u32,
        params: &[Arg],
    ) -> Result<(), Fault> {
        let params = pack(kernel, params);
        let launch = Launch {
            grid,
            block,
            dynamic_shared,
            params: &params,
            cooperative: false,
        };
        let limits = Limits {
            abort: None,
            time_limit: Some(std::time::Duration::from_secs(30)),
            ..Limits::default()
        };
        self.engine.run(&self.space, kernel, &launch, &limits)
    }
}

/// An argument of a kernel.
#[derive(Clone)]
pub enum Arg {
    U32(u32),
    U64(u64),
    F32(f32),
    Bytes(Vec<u8>),
}

pub fn pack(kernel: &Kernel, args: &[Arg]) -> Vec<u8> {
    assert_eq!(
        kernel.params().len(),
        args.len(),
        "arguments of {}",
        kernel.name()
    );
    let mut block = vec![0; kernel.param_bytes() as usize];
    for (param, arg) in kernel.params().iter().zip(args) {
        let bytes = match arg {
            Arg::U32(v) => v.to_le_bytes().to_vec(),
            Arg::U64(v) => v.to_le_bytes().to_vec(),
            Arg::F32(v) => v.to_le_bytes().to_vec(),
            Arg::Bytes(v) => v.clone(),
        };
        assert_eq!(bytes.len(), param.size as usize);
        block[param.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    block
}

pub trait Plain: Copy {
    fn bytes(&self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Self;
}

macro_rules! plain {
    ($($t:ty)*) => {$(
        impl Plain for $t {
            fn bytes(&self) -> Vec<u8> { self.to_le_bytes().to_vec() }
            fn from_bytes(bytes: &[u8]) -> Self { Self::from_le_bytes(bytes.try_into().unwrap()) }
        }
    )*};
}
plain!(u8 u16 u32 u64 i32 i64 f32 f64);

/// Numbers that look random, always the same ones.
pub fn random(n: usize) -> impl Iterator<Item = u32> {
    let mut state = 0x1234_5678_u64;
    (0..n).map(move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    })
}

/// Kernel text around a body: `.entry k(.param .u64 out, .param .u64 in)` with plenty of registers;
/// `%rd1` is `out` and `%rd2` is `in` of this thread, 16 bytes apart.
pub fn wrap(body: &str) -> String {
    format!(
        ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 out, .param .u64 in)\n{{\n\
         .reg .pred %p<20>; .reg .b16 %rs<40>; .reg .b32 %r<60>; .reg .b64 %rd<60>; .reg .f32 %f<40>; .reg .f64 %fd<40>;\n\
         ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [in];\n\
         mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 16;\n\
         add.u64 %rd1, %rd1, %rd3; add.u64 %rd2, %rd2, %rd3;\n{body}\nret;\n}}\n"
    )
}

pub fn kernel_error(source: &str, name: &str) -> KernelError {
    let machine = Machine::new();
    machine.load(source).kernel(name).unwrap_err()
}
