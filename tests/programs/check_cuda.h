// SPDX-License-Identifier: MIT OR Apache-2.0
//
// check.h for programs of the Runtime API.
#pragma once

#include "check.h"
#include <cuda_runtime.h>

// The call must give `expected`.
#define EXPECT(call, expected)                                                                                 \
    do {                                                                                                       \
        cudaError_t result_ = (call), expected_ = (expected);                                                  \
        if (result_ != expected_)                                                                              \
            FAIL("%s gives %d (%s), not %d (%s)", #call, (int)result_, cudaGetErrorName(result_), (int)expected_, \
                 cudaGetErrorName(expected_));                                                                 \
    } while (0)

// The call must succeed.
#define CUDA(call) EXPECT(call, cudaSuccess)

// The launch before this line must have been accepted.
#define LAUNCHED() CUDA(cudaGetLastError())

// The call must give `expected`, and so must cudaGetLastError(), once.
#define EXPECT_LAST(call, expected)                  \
    do {                                             \
        EXPECT(call, expected);                      \
        EXPECT(cudaGetLastError(), expected);        \
        EXPECT(cudaGetLastError(), cudaSuccess);     \
    } while (0)

inline unsigned blocks_for(size_t threads, unsigned block) { return (unsigned)((threads + block - 1) / block); }
