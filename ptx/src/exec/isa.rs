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
    /// AVX-512 F, BW, DQ, VL and CD.
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
                if avx512 {
                    return Lanes::Avx512;
                }
                if avx2 {
                    return Lanes::Avx2;
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
/// `#[inline(always)] unsafe fn` with the generics followed by `const AVX: bool`.
///
/// How many copies are compiled depends on what they are worth: `all` makes one for each host
/// instruction set, `two` one portable and one for AVX2, `one` only the portable one.
macro_rules! handlers {
    ($($copies:ident $name:ident $(<$($generic:ident: $bound:path),*>)? = $body:ident;)*) => {$(
        pub(crate) fn $name$(<$($generic: $bound),*>)?(
            #[allow(unused_variables)] lanes: $crate::exec::Lanes,
        ) -> $crate::exec::code::Handler {
            unsafe fn portable$(<$($generic: $bound),*>)?(
                cx: &mut $crate::exec::Context<'_>, inst: &$crate::exec::code::Inst, mask: u32,
            ) -> $crate::exec::code::Flow {
                // SAFETY: the caller keeps the promises of `Handler`.
                unsafe { $body::<$($($generic,)*)? false>(cx, inst, mask) }
            }
            $crate::exec::isa::handlers!(@$copies lanes $body [$($($generic: $bound),*)?] [$($($generic),*)?])
        }
    )*};
    (@one $lanes:ident $body:ident [$($generic:ident: $bound:path),*] [$($name:ident),*]) => {
        portable::<$($name),*>
    };
    (@two $lanes:ident $body:ident [$($generic:ident: $bound:path),*] [$($name:ident),*]) => {{
        $crate::exec::isa::handlers!(@copy avx2 "avx2,fma,bmi1,bmi2,lzcnt,popcnt" $body [$($generic: $bound),*] [$($name),*]);
        match $lanes {
            #[cfg(target_arch = "x86_64")]
            $crate::exec::Lanes::Avx2 | $crate::exec::Lanes::Avx512 => avx2::<$($name),*>,
            _ => portable::<$($name),*>,
        }
    }};
    (@all $lanes:ident $body:ident [$($generic:ident: $bound:path),*] [$($name:ident),*]) => {{
        $crate::exec::isa::handlers!(@copy avx2 "avx2,fma,bmi1,bmi2,lzcnt,popcnt" $body [$($generic: $bound),*] [$($name),*]);
        $crate::exec::isa::handlers!(@copy avx512
            "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,popcnt" $body [$($generic: $bound),*] [$($name),*]);
        match $lanes {
            #[cfg(target_arch = "x86_64")]
            $crate::exec::Lanes::Avx2 => avx2::<$($name),*>,
            #[cfg(target_arch = "x86_64")]
            $crate::exec::Lanes::Avx512 => avx512::<$($name),*>,
            _ => portable::<$($name),*>,
        }
    }};
    (@copy $copy:ident $features:literal $body:ident [$($generic:ident: $bound:path),*] [$($name:ident),*]) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        unsafe fn $copy<$($generic: $bound),*>(
            cx: &mut $crate::exec::Context<'_>, inst: &$crate::exec::code::Inst, mask: u32,
        ) -> $crate::exec::code::Flow {
            // SAFETY: the caller keeps the promises of `Handler`.
            unsafe { $body::<$($name,)* true>(cx, inst, mask) }
        }
    };
}
pub(crate) use handlers;
