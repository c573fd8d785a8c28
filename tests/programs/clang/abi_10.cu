// SPDX-License-Identifier: MIT OR Apache-2.0
// cuda: 10.2
// fatbinary: --compress-mode=none
// imports: __cudaPopCallConfiguration __cudaPushCallConfiguration __cudaRegisterFatBinary __cudaRegisterFatBinaryEnd __cudaRegisterFunction __cudaUnregisterFatBinary cudaDeviceSynchronize cudaFree cudaLaunchKernel cudaMalloc cudaMemcpy
#include "launch_abi.h"
