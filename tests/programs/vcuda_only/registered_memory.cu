// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Registered memory has no device pointer: it stays the program's own, and is copied. On a GPU it would be mapped.

#include "check_cuda.h"

int main() {
    const size_t SIZE = 64 << 10;
    unsigned *host = (unsigned *)aligned_alloc(4096, SIZE), flags;
    void *mapped;
    REQUIRE(host != nullptr);
    CUDA(cudaHostRegister(host, SIZE, cudaHostRegisterMapped | cudaHostRegisterPortable));
    CUDA(cudaHostGetFlags(&flags, host));
    REQUIRE_EQUAL(flags, cudaHostRegisterMapped | cudaHostRegisterPortable);
    EXPECT_LAST(cudaHostGetDevicePointer(&mapped, host, 0), cudaErrorNotSupported);
    cudaPointerAttributes attributes;
    CUDA(cudaPointerGetAttributes(&attributes, host));
    REQUIRE_EQUAL(attributes.type, cudaMemoryTypeHost);
    REQUIRE(attributes.devicePointer == nullptr);
    CUDA(cudaHostUnregister(host));
    EXPECT_LAST(cudaHostGetDevicePointer(&mapped, host, 0), cudaErrorInvalidValue);
    free(host);
    return pass();
}
