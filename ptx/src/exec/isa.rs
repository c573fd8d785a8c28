// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which instructions of the host the lane functions may use, and the macro that compiles a lane
//! function for each of them.

/// Host instruction sets that lane functions are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lanes {
    /// What every machine has. Results are bit-equal to the others'.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// The same and AVX-512 F, BW, DQ, VL and CD.
    Avx512,
}

impl Lanes {
    /// The best that this machine has; asked once.
    pub fn detect() -> Lanes {
        use std::sync::OnceLock;
        static BEST: OnceLock<Lanes> = OnceLock::new();
        *BEST.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            {
                let avx2 = is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("lzcnt")
                    && is_x86_feature_detected!("popcnt");
                let avx512 = avx2
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512cd");
                match (avx2, avx512) {
                    (_, true) => return Lanes::Avx512,
                    (true, _) => return Lanes::Avx2,
                    _ => {}
                }
            }
            Lanes::Portable
        })
    }

    /// Those that this machine can run, for tests.
    pub fn available() -> Vec<Lanes> {
        match Lanes::detect() {
            Lanes::Portable => vec![Lanes::Portable],
            Lanes::Avx2 => vec![Lanes::Portable, Lanes::Avx2],
            Lanes::Avx512 => vec![Lanes::Portable, Lanes::Avx2, Lanes::Avx512],
        }
    }
}

/// Defines, for each `name<Generics> = body`, a function `name(Lanes) -> Handler`. The body is an
/// `#[inline(always)] unsafe fn` with the generics followed by `const AVX: bool`, or for `all` by
/// `const ISA: u8`: 0, 1 with AVX2, 2 with AVX-512. Each copy has a constant of its own, as closures
/// are compiled for one copy, with its instructions, only if no other copy calls them.
///
/// `all` compiles one copy for every machine, one for AVX2 and one for AVX-512; `two` leaves out the
/// last, and `one`, for what gains nothing from vectors, has only the first. `as Conduct` follows where the instruction need not be
/// alone; with `if`, it is `Memory` otherwise.
macro_rules! handlers {
    ($($copies:ident $name:ident $(<$($generic:ident: $bound:path),*>)? = $body:ident $(as $conduct:ident $(if $when:expr)?)?;)*) => {$(
        pub(crate) fn $name$(<$($generic: $bound),*>)?(
            #[allow(unused_variables)] lanes: $crate::exec::Lanes,
        ) -> $crate::exec::code::Handler {
            $crate::exec::isa::handlers!(@portable $copies $body [$($($generic: $bound),*)?] [$($($generic),*)?]);
            $crate::exec::code::Handler {
                function: $crate::exec::isa::handlers!(@$copies lanes $body [$($($generic: $bound),*)?] [$($($generic),*)?]),
                conduct: $crate::exec::isa::handlers!(@conduct $($conduct $(if $when)?)?),
            }
        }
    )*};
    (@portable all $($rest:tt)*) => { $crate::exec::isa::handlers!(@base 0 $($rest)*); };
    (@portable $copies:ident $($rest:tt)*) => { $crate::exec::isa::handlers!(@base false $($rest)*); };
    (@base $isa:literal $body:ident [$($generic:ident: $bound:path),*] [$($name:ident),*]) => {
        unsafe fn portable<$($generic: $bound),*>(
            cx: &mut $crate::exec::Context<'_>, inst: &$crate::exec::code::Inst, mask: u32,
        ) -> $crate::exec::code::Flow {
            // SAFETY: the caller keeps the promises of `Function`.
            unsafe { $body::<$($name,)* $isa>(cx, inst, mask) }
        }
    };
    (@conduct) => { $crate::exec::code::Conduct::Alone };
    (@conduct $conduct:ident) => { $crate::exec::code::Conduct::$conduct };
    (@conduct $conduct:ident if $when:expr) => {
        if $when {
            $crate::exec::code::Conduct::$conduct
        } else {
            $crate::exec::code::Conduct::Memory
        }
    };
    (@one $lanes:ident $body:ident [$($generic:ident: $bound:path),*] [$($name:ident),*]) => {
        portable::<$($name),*>
    };
    (@two $lanes:ident $body:ident [$($generic:ident: $bound:path),*] [$($name:ident),*]) => {{
        $crate::exec::isa::handlers!(@copy avx2 true "avx2,fma,bmi1,bmi2,lzcnt,popcnt" $body [$($generic: $bound),*] [$($name),*]);
        match $lanes {
            #[cfg(target_arch = "x86_64")]
            $crate::exec::Lanes::Avx2 | $crate::exec::Lanes::Avx512 => avx2::<$($name),*>,
            _ => portable::<$($name),*>,
        }
    }};
    (@all $lanes:ident $body:ident [$($generic:ident: $bound:path),*] [$($name:ident),*]) => {{
        $crate::exec::isa::handlers!(@copy avx2 1 "avx2,fma,bmi1,bmi2,lzcnt,popcnt" $body [$($generic: $bound),*] [$($name),*]);
        $crate::exec::isa::handlers!(@copy avx512 2 "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,popcnt" $body [$($generic: $bound),*] [$($name),*]);
        match $lanes {
            #[cfg(target_arch = "x86_64")]
            $crate::exec::Lanes::Avx512 => avx512::<$($name),*>,
            #[cfg(target_arch = "x86_64")]
            $crate::exec::Lanes::Avx2 => avx2::<$($name),*>,
            _ => portable::<$($name),*>,
        }
    }};
    (@copy $copy:ident $isa:literal $features:literal $body:ident [$($generic:ident: $bound:path),*] [$($name:ident),*]) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        unsafe fn $copy<$($generic: $bound),*>(
            cx: &mut $crate::exec::Context<'_>, inst: &$crate::exec::code::Inst, mask: u32,
        ) -> $crate::exec::code::Flow {
            // SAFETY: the caller keeps the promises of `Function`.
            unsafe { $body::<$($name,)* $isa>(cx, inst, mask) }
        }
    };
}
pub(crate) use handlers;
