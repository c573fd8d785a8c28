// SPDX-License-Identifier: MIT OR Apache-2.0
//! How an exported CUDA function is written.
//!
//! A body is a block that returns `Result<()>`; the macros make it an exported C function that
//! tags its commands with its own name, turns a panic into an error instead of unwinding into C,
//! and (Runtime API) keeps the thread's last error. `/ twin` names the `_ptsz` or `_ptds` export
//! whose null stream is the per-thread default stream, `| alias` another name with the same
//! meaning.

use std::panic::{AssertUnwindSafe, catch_unwind};

use vcuda_protocol::Status;

use crate::thread::{self, DefaultStream};
use crate::{Result, contexts, error, release};

fn run(api: u16, default: DefaultStream, body: impl FnOnce() -> Result<()>) -> Status {
    let outcome = catch_unwind(AssertUnwindSafe(|| thread::within(api, default, body)));
    match outcome {
        Ok(Ok(())) => Status::SUCCESS,
        Ok(Err(status)) => status,
        Err(_) => {
            let name = vcuda_api::FunctionId::new(api).map_or("a CUDA function", |id| id.name());
            vcuda_transport::say!(
                "{name} failed by a fault in vcuda itself; it returns an unknown error (999)."
            );
            error::UNKNOWN
        }
    }
}

/// A Runtime API function: its error is also the thread's last error. `cudaErrorNotReady` is
/// returned but not kept (CUDA Runtime API, cudaEventQuery and cudaStreamQuery).
pub(crate) fn runtime(api: u16, default: DefaultStream, body: impl FnOnce() -> Result<()>) -> u32 {
    let status = run(api, default, body);
    if !status.is_success() && status != error::NOT_READY {
        thread::with(|t| t.last_error.set(status));
    }
    release::outward(status.0)
}

/// A Runtime API function that returns an error which an earlier call kept.
pub(crate) fn reporting(
    api: u16,
    default: DefaultStream,
    body: impl FnOnce() -> Result<()>,
) -> u32 {
    release::outward(run(api, default, body).0)
}

/// A Driver API function that may be called at any time.
pub(crate) fn driver(api: u16, default: DefaultStream, body: impl FnOnce() -> Result<()>) -> u32 {
    run(api, default, body).0
}

/// A Driver API function that may be called after cuInit.
pub(crate) fn initialized(
    api: u16,
    default: DefaultStream,
    body: impl FnOnce() -> Result<()>,
) -> u32 {
    run(api, default, || {
        contexts::initialized()?;
        body()
    })
    .0
}

macro_rules! export {
    ($kind:ident: $( $(#[$meta:meta])* fn $name:ident $(| $alias:ident)* $(/ $twin:ident)* ($($arg:ident : $type:ty),* $(,)?) $body:block)*) => {$(
        $crate::entry::export!(@one $kind, Legacy, $(#[$meta])* $name, ($($arg: $type),*), $body);
        $crate::entry::export!(@more $kind, Legacy, ($($alias)*), ($($arg: $type),*), $body);
        $crate::entry::export!(@more $kind, PerThread, ($($twin)*), ($($arg: $type),*), $body);
    )*};
    (@more $kind:ident, $default:ident, (), $args:tt, $body:block) => {};
    (@more $kind:ident, $default:ident, ($name:ident $($rest:ident)*), $args:tt, $body:block) => {
        $crate::entry::export!(@one $kind, $default, $name, $args, $body);
        $crate::entry::export!(@more $kind, $default, ($($rest)*), $args, $body);
    };
    (@one $kind:ident, $default:ident, $(#[$meta:meta])* $name:ident, ($($arg:ident : $type:ty),*), $body:block) => {
        $(#[$meta])*
        /// # Safety
        /// The arguments are as the CUDA API reference asks: pointers are null or point to what
        /// the prototype says.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name($($arg: $type),*) -> u32 {
            $crate::entry::$kind(
                vcuda_api::id::$name.number(),
                $crate::thread::DefaultStream::$default,
                || $body,
            )
        }
    };
}

pub(crate) use export;
