// SPDX-License-Identifier: MIT OR Apache-2.0
//! Takes the results of the table in `tests/golden/` from a GPU. `scripts/goldens.sh` uses it:
//!
//! * `goldens ptx DIR` writes the kernels as PTX modules, to be assembled with ptxas;
//! * `goldens run DIR OUT` runs `DIR/*.cubin` through the CUDA driver and writes all results;
//! * `goldens pack OUT RESULTS` makes the file that the tests compare with;
//! * `goldens compare OUT [WORD]` shows where this crate differs from all results;
//! * `goldens show OUT WORD` shows operands and results of the forms that have the word.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fs;
use std::path::Path;

#[path = "../tests/golden/mod.rs"]
mod golden;
#[path = "../tests/golden/machine.rs"]
mod machine;
use golden::{BLOCK, CASES, Form, HEADER, forms};

/// Kernels of a module.
const MODULE: usize = 100;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ptx", dir] => write_ptx(Path::new(dir)),
        ["run", dir, out] => run(Path::new(dir), Path::new(out)),
        ["pack", out, results] => pack(Path::new(out), Path::new(results)),
        ["show", out, word] => show(Path::new(out), word),
        ["compare", out] => compare(Path::new(out), ""),
        ["compare", out, word] => compare(Path::new(out), word),
        _ => Err(
            "goldens ptx DIR | run DIR OUT | pack OUT RESULTS | compare OUT [WORD] | show OUT WORD"
                .into(),
        ),
    }
}

fn write_ptx(dir: &Path) -> Outcome<()> {
    fs::create_dir_all(dir)?;
    let forms = forms();
    for (m, group) in forms.chunks(MODULE).enumerate() {
        let mut text = HEADER.to_owned();
        for (i, form) in group.iter().enumerate() {
            text += &form.kernel(&format!("k{}", m * MODULE + i));
        }
        fs::write(dir.join(format!("forms_{m:02}.ptx")), text)?;
    }
    let keys: HashSet<u32> = forms.iter().map(Form::key).collect();
    println!("{} forms, {} of them different", forms.len(), keys.len());
    Ok(())
}

/// The few functions of the driver that this needs, by name.
struct Driver(*mut c_void);

impl Driver {
    fn open() -> Outcome<Driver> {
        // SAFETY: a name that ends with a zero; the flag is one of dlopen's.
        let library = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return Err("there is no libcuda.so.1".into());
        }
        Ok(Driver(library))
    }

    fn function(&self, name: &CStr) -> Outcome<*mut c_void> {
        // SAFETY: the library is open, the name ends with a zero.
        let function = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if function.is_null() {
            return Err(format!("libcuda.so.1 has no {}", name.to_string_lossy()).into());
        }
        Ok(function)
    }
}

/// Calls a function of the driver whose arguments have these types.
macro_rules! call {
    ($driver:expr, $name:literal ($($argument:expr => $type:ty),*)) => {{
        let function = $driver.function($name)?;
        // SAFETY: the types are those of the CUDA Driver API's declaration.
        let status = unsafe {
            core::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> c_int>(function)($($argument),*)
        };
        if status == 0 {
            Ok(())
        } else {
            Err(format!("{} returned {status}", $name.to_string_lossy()))
        }
    }};
}

type Handle = *mut c_void;

struct Gpu {
    driver: Driver,
    context: Handle,
    input: u64,
    output: u64,
}

/// Operands and results of a kernel have at most so many words per case.
const WORDS: usize = 32;

impl Gpu {
    fn new() -> Outcome<Gpu> {
        let driver = Driver::open()?;
        call!(driver, c"cuInit"(0 => c_uint))?;
        let mut gpu = Gpu {
            driver,
            context: core::ptr::null_mut(),
            input: 0,
            output: 0,
        };
        gpu.begin()?;
        Ok(gpu)
    }

    fn begin(&mut self) -> Outcome<()> {
        call!(self.driver, c"cuCtxCreate_v2"(&mut self.context => *mut Handle, 0 => c_uint, 0 => c_int))?;
        let bytes = CASES * WORDS * 8;
        call!(self.driver, c"cuMemAlloc_v2"(&mut self.input => *mut u64, bytes => usize))?;
        call!(self.driver, c"cuMemAlloc_v2"(&mut self.output => *mut u64, bytes => usize))?;
        Ok(())
    }

    fn restart(&mut self) -> Outcome<()> {
        call!(self.driver, c"cuCtxDestroy_v2"(self.context => Handle))?;
        self.begin()
    }

    fn load(&self, image: &[u8]) -> Outcome<Handle> {
        let mut module = core::ptr::null_mut();
        call!(self.driver, c"cuModuleLoadData"(&mut module => *mut Handle, image.as_ptr() => *const u8))?;
        Ok(module)
    }

    fn run(&self, module: Handle, kernel: &str, form: &Form) -> Outcome<Vec<u64>> {
        let name = CString::new(kernel)?;
        let mut function: Handle = core::ptr::null_mut();
        call!(self.driver, c"cuModuleGetFunction"(&mut function => *mut Handle, module => Handle, name.as_ptr() => *const c_char))?;
        let input = form.inputs();
        call!(self.driver, c"cuMemcpyHtoD_v2"(self.input => u64, input.as_ptr() => *const u64, input.len() * 8 => usize))?;
        let words = CASES * form.outs.len();
        call!(self.driver, c"cuMemsetD8_v2"(self.output => u64, 0 => u8, words * 8 => usize))?;
        let mut params = [
            (&raw const self.output).cast::<c_void>(),
            (&raw const self.input).cast::<c_void>(),
        ];
        call!(self.driver, c"cuLaunchKernel"(
            function => Handle,
            (CASES / BLOCK) as c_uint => c_uint, 1 => c_uint, 1 => c_uint,
            BLOCK as c_uint => c_uint, 1 => c_uint, 1 => c_uint,
            0 => c_uint, core::ptr::null_mut() => Handle,
            params.as_mut_ptr() => *mut *const c_void, core::ptr::null_mut() => *mut *mut c_void
        ))?;
        let mut out = vec![0u64; words];
        call!(self.driver, c"cuMemcpyDtoH_v2"(out.as_mut_ptr() => *mut u64, self.output => u64, words * 8 => usize))?;
        Ok(out)
    }
}

/// Each form's key, then the bytes of all its results; a key of 0 and zeros for one that failed.
fn run(dir: &Path, out: &Path) -> Outcome<()> {
    let forms = forms();
    let mut gpu = Gpu::new()?;
    let mut bytes = Vec::new();
    let mut failures = 0;
    for (m, group) in forms.chunks(MODULE).enumerate() {
        let image = fs::read(dir.join(format!("forms_{m:02}.cubin")))?;
        let mut module = gpu.load(&image)?;
        for (i, form) in group.iter().enumerate() {
            let kernel = format!("k{}", m * MODULE + i);
            match gpu.run(module, &kernel, form) {
                Ok(words) => {
                    bytes.extend(form.key().to_le_bytes());
                    bytes.extend(golden::results(form, &words));
                }
                Err(error) => {
                    println!("{kernel}: {error}: {}", form.body);
                    failures += 1;
                    bytes.extend([0; 4]);
                    bytes.resize(bytes.len() + CASES * form.result_bytes(), 0);
                    gpu.restart()?;
                    module = gpu.load(&image)?;
                }
            }
        }
    }
    fs::write(out, &bytes)?;
    println!(
        "{} forms, {failures} failed, {} bytes",
        forms.len(),
        bytes.len()
    );
    Ok(())
}

/// All results of each form, by its key.
fn read(out: &Path) -> Outcome<HashMap<u32, Vec<u8>>> {
    let mut results = HashMap::new();
    let bytes = fs::read(out)?;
    let mut rest = &bytes[..];
    for form in forms() {
        let (key, more) = rest
            .split_first_chunk::<4>()
            .ok_or("the file is too short")?;
        let (these, more) = more
            .split_at_checked(CASES * form.result_bytes())
            .ok_or("the file is too short")?;
        rest = more;
        if u32::from_le_bytes(*key) == form.key() {
            results.insert(form.key(), these.to_vec());
        } else if *key != [0; 4] {
            return Err(format!("the file is of another table, from `{}` on", form.body).into());
        }
    }
    Ok(results)
}

fn pack(out: &Path, packed: &Path) -> Outcome<()> {
    let results = read(out)?;
    let mut bytes = Vec::new();
    for form in forms() {
        if let Some(these) = results.get(&form.key()) {
            bytes.extend(golden::pack(&form, these));
        }
    }
    println!("{} bytes", bytes.len());
    fs::write(packed, bytes)?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().rev().map(|b| format!("{b:02x}")).collect()
}

fn show(out: &Path, word: &str) -> Outcome<()> {
    let results = read(out)?;
    for form in forms().iter().filter(|form| form.body.contains(word)) {
        let Some(theirs) = results.get(&form.key()) else {
            continue;
        };
        println!("{}", form.body);
        let (size, inputs) = (form.result_bytes(), form.inputs());
        for c in 0..CASES {
            let operands: Vec<String> = (0..form.ins.len())
                .map(|o| format!("{:#x}", inputs[o * CASES + c]))
                .collect();
            println!(
                "    {c}: {} -> {}",
                operands.join(" "),
                hex(&theirs[c * size..][..size])
            );
        }
    }
    Ok(())
}

fn compare(out: &Path, word: &str) -> Outcome<()> {
    let results = read(out)?;
    let machine = machine::Machine::new();
    let (mut good, mut bad, mut refused) = (0, 0, 0);
    for form in forms().iter().filter(|form| form.body.contains(word)) {
        let Some(theirs) = results.get(&form.key()) else {
            continue;
        };
        let ours = match machine.run(form, vcuda_ptx::Lanes::detect()) {
            Ok(ours) => ours,
            Err(error) => {
                refused += 1;
                println!("refused: {error}");
                continue;
            }
        };
        let size = form.result_bytes();
        let wrong: Vec<usize> = (0..CASES)
            .filter(|c| {
                !golden::agrees(
                    form.check,
                    &ours[c * size..][..size],
                    &theirs[c * size..][..size],
                )
            })
            .collect();
        if wrong.is_empty() {
            good += 1;
            continue;
        }
        bad += 1;
        println!("{} of {CASES} wrong: {}", wrong.len(), form.body);
        let inputs = form.inputs();
        for &c in wrong.iter().take(4) {
            let operands: Vec<String> = (0..form.ins.len())
                .map(|o| format!("{:#x}", inputs[o * CASES + c]))
                .collect();
            println!(
                "    case {c}: {} gives {}, not {}",
                operands.join(" "),
                hex(&ours[c * size..][..size]),
                hex(&theirs[c * size..][..size]),
            );
        }
    }
    println!("{good} agree, {bad} differ, {refused} refused");
    Ok(())
}
