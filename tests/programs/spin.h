// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A device function that takes long enough for a missing wait to show.
#pragma once

// `turns` steps of a congruential generator, which no compiler can shorten.
__device__ inline unsigned spin(unsigned turns) {
    unsigned value = turns;
    for (unsigned i = 0; i < turns; i++) {
        value = value * 1664525 + 1013904223;
        asm volatile("" : "+r"(value));
    }
    return value;
}
