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
        }
    }
}

/// Defines, for each `name<Generics> = body`, a function `name(Lanes) -> Handler`. The body is an
/// `#[inline(always)] unsafe fn` with the generics followed by `const AVX: bool`.
///
/// `two` compiles one copy for every machine and one for AVX2; `one`, for what gains nothing from
/// AVX2, only the first.
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
            $crate::exec::Lanes::Avx2 => avx2::<$($name),*>,
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
