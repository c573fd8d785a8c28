// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_80,code=compute_80
//
// Warp matrix functions (mma.h): every type of sm_80, layouts, and a tiled product of larger matrices; mma with ldmatrix.

#include "check_cuda.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math.h>
#include <mma.h>
#include <vector>

using namespace nvcuda;

// One warp: d = a * b + c for one tile, with leading dimensions of their own.
template <int M, int N, int K, class In, class Element, class Sum, class LayoutA, class LayoutB>
__global__ void tile(const Element *a, const Element *b, const Sum *c, Sum *d, int lda, int ldb, int ldc) {
    wmma::fragment<wmma::matrix_a, M, N, K, In, LayoutA> fa;
    wmma::fragment<wmma::matrix_b, M, N, K, In, LayoutB> fb;
    wmma::fragment<wmma::accumulator, M, N, K, Sum> fc;
    wmma::load_matrix_sync(fa, a, lda);
    wmma::load_matrix_sync(fb, b, ldb);
    wmma::load_matrix_sync(fc, c, ldc, wmma::mem_row_major);
    if constexpr (std::is_same<In, wmma::precision::tf32>::value) {
        for (int i = 0; i < fa.num_elements; i++) fa.x[i] = wmma::__float_to_tf32(fa.x[i]);
        for (int i = 0; i < fb.num_elements; i++) fb.x[i] = wmma::__float_to_tf32(fb.x[i]);
    }
    wmma::mma_sync(fc, fa, fb, fc);
    for (int i = 0; i < fc.num_elements; i++) fc.x[i] = fc.x[i] * (Sum)2;
    wmma::store_matrix_sync(d, fc, ldc, wmma::mem_row_major);
}

template <class T> T make(int value) { return T((float)value); }
template <> signed char make(int value) { return (signed char)value; }
template <> unsigned char make(int value) { return (unsigned char)abs(value); }
template <class T> double value_of(T x) { return (double)(float)x; }
template <> double value_of(double x) { return x; }
template <> double value_of(int x) { return x; }

static unsigned state = 12345;
static int small() { return (int)((state = state * 1664525u + 1013904223u) >> 24) % 9 - 4; }

template <int M, int N, int K, class In, class Element, class Sum, class LayoutA, class LayoutB> void check(const char *name) {
    bool row_a = std::is_same<LayoutA, wmma::row_major>::value, row_b = std::is_same<LayoutB, wmma::row_major>::value;
    // Strides are multiples of 16 bytes.
    int lda = (row_a ? K : M) + 16, ldb = (row_b ? N : K) + 16, ldc = N + 8;
    std::vector<Element> a((row_a ? M : K) * lda), b((row_b ? K : N) * ldb);
    std::vector<Sum> c(M * ldc), d(M * ldc);
    for (auto &x : a) x = make<Element>(small());
    for (auto &x : b) x = make<Element>(small());
    for (auto &x : c) x = make<Sum>(small());
    Element *device_a, *device_b;
    Sum *device_c, *device_d;
    CUDA(cudaMalloc(&device_a, a.size() * sizeof(Element)));
    CUDA(cudaMalloc(&device_b, b.size() * sizeof(Element)));
    CUDA(cudaMalloc(&device_c, c.size() * sizeof(Sum)));
    CUDA(cudaMalloc(&device_d, d.size() * sizeof(Sum)));
    CUDA(cudaMemcpy(device_a, a.data(), a.size() * sizeof(Element), cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(device_b, b.data(), b.size() * sizeof(Element), cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(device_c, c.data(), c.size() * sizeof(Sum), cudaMemcpyHostToDevice));
    tile<M, N, K, In, Element, Sum, LayoutA, LayoutB><<<1, 32>>>(device_a, device_b, device_c, device_d, lda, ldb, ldc);
    LAUNCHED();
    CUDA(cudaMemcpy(d.data(), device_d, d.size() * sizeof(Sum), cudaMemcpyDeviceToHost));
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++) {
            double sum = value_of(c[i * ldc + j]);
            for (int k = 0; k < K; k++) {
                sum += value_of(a[row_a ? i * lda + k : k * lda + i]) * value_of(b[row_b ? k * ldb + j : j * ldb + k]);
            }
            double found = value_of(d[i * ldc + j]);
            if (found != 2 * sum) FAIL("%s: element (%d, %d) is %g, not %g", name, i, j, found, 2 * sum);
        }
    }
    for (void *memory : {(void *)device_a, (void *)device_b, (void *)device_c, (void *)device_d}) CUDA(cudaFree(memory));
}

using row = wmma::row_major;
using col = wmma::col_major;

template <class In, class Element, class Sum> void three_shapes(const char *name) {
    check<16, 16, 16, In, Element, Sum, row, col>(name);
    check<16, 16, 16, In, Element, Sum, col, row>(name);
    check<32, 8, 16, In, Element, Sum, row, row>(name);
    check<8, 32, 16, In, Element, Sum, col, col>(name);
}

// Larger matrices: each warp makes one 16x16 tile of the result from tiles in shared memory.
__global__ void product(const __half *a, const __half *b, float *c, int n) {
    __shared__ __half sa[16][24], sb[16][24];
    int row0 = blockIdx.y * 16, col0 = blockIdx.x * 16;
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, row> fa;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, row> fb;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
    wmma::fill_fragment(fc, 0.0f);
    for (int k = 0; k < n; k += 16) {
        for (int i = threadIdx.x; i < 256; i += 32) {
            sa[i / 16][i % 16] = a[(row0 + i / 16) * n + k + i % 16];
            sb[i / 16][i % 16] = b[(k + i / 16) * n + col0 + i % 16];
        }
        __syncwarp();
        wmma::load_matrix_sync(fa, &sa[0][0], 24);
        wmma::load_matrix_sync(fb, &sb[0][0], 24);
        wmma::mma_sync(fc, fa, fb, fc);
        __syncwarp();
    }
    wmma::store_matrix_sync(c + row0 * n + col0, fc, n, wmma::mem_row_major);
}

static void large() {
    const int n = 96;
    std::vector<__half> a(n * n), b(n * n);
    std::vector<float> c(n * n);
    for (auto &x : a) x = __float2half((float)small() / 8);
    for (auto &x : b) x = __float2half((float)small() / 8);
    __half *device_a, *device_b;
    float *device_c;
    CUDA(cudaMalloc(&device_a, n * n * 2));
    CUDA(cudaMalloc(&device_b, n * n * 2));
    CUDA(cudaMalloc(&device_c, n * n * 4));
    CUDA(cudaMemcpy(device_a, a.data(), n * n * 2, cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(device_b, b.data(), n * n * 2, cudaMemcpyHostToDevice));
    product<<<dim3(n / 16, n / 16), 32>>>(device_a, device_b, device_c, n);
    LAUNCHED();
    CUDA(cudaMemcpy(c.data(), device_c, n * n * 4, cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            float sum = 0;
            for (int k = 0; k < n; k++) sum += __half2float(a[i * n + k]) * __half2float(b[k * n + j]);
            if (c[i * n + j] != sum) FAIL("element (%d, %d) is %g, not %g", i, j, c[i * n + j], sum);
        }
    }
}

// mma.m16n8k16 with fragments from ldmatrix, as libraries use it.
__global__ void raw(const __half *a, const __half *b, float *c) {
    __shared__ __align__(16) __half sa[16 * 16], sb[16 * 8];
    int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) sa[i] = a[i];
    for (int i = lane; i < 128; i += 32) sb[i] = b[i];
    __syncwarp();
    unsigned ra[4], rb[2];
    unsigned pa = (unsigned)__cvta_generic_to_shared(&sa[lane % 16 * 16 + lane / 16 * 8]);
    unsigned pb = (unsigned)__cvta_generic_to_shared(&sb[lane % 16 * 8]);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3])
                 : "r"(pa));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(rb[0]), "=r"(rb[1]) : "r"(pb));
    float d[4] = {0, 0, 0, 0};
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
    for (int i = 0; i < 4; i++) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}

static void fragments() {
    __half a[256], b[128], *device_a, *device_b;
    float c[128], *device_c;
    for (auto &x : a) x = __float2half((float)small());
    for (auto &x : b) x = __float2half((float)small());
    CUDA(cudaMalloc(&device_a, sizeof a));
    CUDA(cudaMalloc(&device_b, sizeof b));
    CUDA(cudaMalloc(&device_c, sizeof c));
    CUDA(cudaMemcpy(device_a, a, sizeof a, cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(device_b, b, sizeof b, cudaMemcpyHostToDevice));
    raw<<<1, 32>>>(device_a, device_b, device_c);
    LAUNCHED();
    CUDA(cudaMemcpy(c, device_c, sizeof c, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 8; j++) {
            float sum = 0;
            for (int k = 0; k < 16; k++) sum += __half2float(a[i * 16 + k]) * __half2float(b[k * 8 + j]);
            if (c[i * 8 + j] != sum) FAIL("mma: element (%d, %d) is %g, not %g", i, j, c[i * 8 + j], sum);
        }
    }
}

int main() {
    three_shapes<__half, __half, float>("half");
    three_shapes<__half, __half, __half>("half, half sum");
    three_shapes<__nv_bfloat16, __nv_bfloat16, float>("bfloat16");
    three_shapes<signed char, signed char, int>("s8");
    three_shapes<unsigned char, unsigned char, int>("u8");
    check<16, 16, 8, wmma::precision::tf32, float, float, row, col>("tf32");
    check<16, 16, 8, wmma::precision::tf32, float, float, col, row>("tf32");
    check<8, 8, 4, double, double, double, row, col>("double");
    check<8, 8, 4, double, double, double, col, row>("double");
    large();
    fragments();
    return pass();
}
