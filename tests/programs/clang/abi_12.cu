// SPDX-License-Identifier: MIT OR Apache-2.0
// cuda: 12.0
// fatbinary: --compress-mode=speed
// imports: __cudaPopCallConfiguration __cudaPushCallConfiguration __cudaRegisterFatBinary __cudaRegisterFatBinaryEnd __cudaRegisterFunction __cudaUnregisterFatBinary cudaDeviceSynchronize cudaFree cudaLaunchKernel cudaMalloc cudaMemcpy
#include "launch_abi.h"
