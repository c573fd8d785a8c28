// SPDX-License-Identifier: MIT OR Apache-2.0
//
// check.h for programs of the Driver API.
#pragma once

#include "check.h"
#include <cuda.h>

// The call must give `expected`.
#define EXPECT(call, expected)                                                                      \
    do {                                                                                            \
        CUresult result_ = (call), expected_ = (expected);                                          \
        if (result_ != expected_) FAIL("%s gives %d, not %d", #call, (int)result_, (int)expected_); \
    } while (0)

// The call must succeed.
#define CU(call) EXPECT(call, CUDA_SUCCESS)
