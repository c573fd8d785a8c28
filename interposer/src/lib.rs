// SPDX-License-Identifier: MIT OR Apache-2.0
//! libvcuda.so: the CUDA Runtime and Driver API over a vcuda session
