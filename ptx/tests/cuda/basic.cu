// SPDX-License-Identifier: MIT OR Apache-2.0
extern "C" __global__ void empty() {}

extern "C" __global__ void saxpy(float a, const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}

#define TILE 32
extern "C" __global__ void matmul(const float* a, const float* b, float* c, int n) {
    __shared__ float as[TILE][TILE];
    __shared__ float bs[TILE][TILE];
    int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
    float sum = 0;
    for (int t = 0; t < n / TILE; ++t) {
        as[threadIdx.y][threadIdx.x] = a[row * n + t * TILE + threadIdx.x];
        bs[threadIdx.y][threadIdx.x] = b[(t * TILE + threadIdx.y) * n + column];
        __syncthreads();
#pragma unroll
        for (int k = 0; k < TILE; ++k) sum += as[threadIdx.y][k] * bs[k][threadIdx.x];
        __syncthreads();
    }
    c[row * n + column] = sum;
}

extern "C" __global__ void reduce(const int* in, int* out, int n) {
    __shared__ int partial[32];
    int sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += in[i];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffff, sum, offset);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x] : 0;
        for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffff, sum, offset);
        if (threadIdx.x == 0) atomicAdd(out, sum);
    }
}

extern "C" __global__ void histogram(const unsigned char* in, unsigned* bins, int n) {
    __shared__ unsigned local[256];
    for (int i = threadIdx.x; i < 256; i += blockDim.x) local[i] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&local[in[i]], 1u);
    __syncthreads();
    for (int i = threadIdx.x; i < 256; i += blockDim.x) atomicAdd(&bins[i], local[i]);
}

extern "C" __global__ void stencil(const float* in, float* out, int n) {
    extern __shared__ float tile[];
    int i = blockIdx.x * blockDim.x + threadIdx.x, s = threadIdx.x + 1;
    tile[s] = i < n ? in[i] : 0.0f;
    if (threadIdx.x == 0) tile[0] = i > 0 ? in[i - 1] : 0.0f;
    if (threadIdx.x == blockDim.x - 1) tile[s + 1] = i + 1 < n ? in[i + 1] : 0.0f;
    __syncthreads();
    if (i < n) out[i] = 0.25f * tile[s - 1] + 0.5f * tile[s] + 0.25f * tile[s + 1];
}

extern "C" __global__ void nbody(const float4* p, float3* acc, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float4 me = p[i];
    float ax = 0, ay = 0, az = 0;
    for (int j = 0; j < n; ++j) {
        float4 o = p[j];
        float dx = o.x - me.x, dy = o.y - me.y, dz = o.z - me.z;
        float inv = rsqrtf(dx * dx + dy * dy + dz * dz + 0.01f);
        float f = o.w * inv * inv * inv;
        ax += f * dx; ay += f * dy; az += f * dz;
    }
    acc[i] = make_float3(ax, ay, az);
}

extern "C" __global__ void mandelbrot(int* out, int width, int height, int limit) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    double cr = 3.0 * x / width - 2.0, ci = 2.0 * y / height - 1.0, zr = 0, zi = 0;
    int n = 0;
    while (n < limit && zr * zr + zi * zi < 4.0) {
        double t = zr * zr - zi * zi + cr;
        zi = 2 * zr * zi + ci;
        zr = t;
        ++n;
    }
    out[y * width + x] = n;
}

__constant__ int weights[4] = {1, 10, 100, 1000};
__device__ int counter = 5;
__device__ double table[3] = {0.5, 1.5, 2.5};
extern "C" __global__ void variables(int* out, double* dout) {
    int i = threadIdx.x;
    out[i] = weights[i % 4] + atomicAdd(&counter, 1) * 0;
    dout[i] = table[i % 3] / 3.0;
}

extern "C" __global__ void locals(int* out, int n, int key) {
    int a[32];
    for (int i = 0; i < 32; ++i) a[i] = (threadIdx.x * 7 + i * 13) % 61;
    for (int i = 1; i < 32; ++i) {          // insertion sort: dynamic indices keep the array in local memory
        int v = a[i], j = i;
        while (j > 0 && a[j - 1] > v) { a[j] = a[j - 1]; --j; }
        a[j] = v;
    }
    out[threadIdx.x] = a[(key + threadIdx.x) & 31];
}

__device__ __noinline__ int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
extern "C" __global__ void recursion(int* out) { out[threadIdx.x] = fib(threadIdx.x % 12); }

typedef long long (*Op)(long long, long long);
__device__ __noinline__ long long op_add(long long a, long long b) { return a + b; }
__device__ __noinline__ long long op_div(long long a, long long b) { return a / b; }
__device__ __noinline__ long long op_rem(long long a, long long b) { return a % b; }
__device__ Op ops[3] = {op_add, op_div, op_rem};
extern "C" __global__ void indirect(long long* out, const long long* in) {
    out[threadIdx.x] = ops[threadIdx.x % 3](in[threadIdx.x], 7 - (int)(threadIdx.x % 5));
}

extern "C" __global__ void choose(int* out, const int* in) {
    int v = in[threadIdx.x], r;
    switch (v) {
        case 0: r = v * 3 + 1; break;
        case 1: r = __popc(v * 77777); break;
        case 2: r = __clz(v + 1000); break;
        case 3: r = __brev(v); break;
        case 4: r = __ffs(v * 64); break;
        case 5: r = v ^ 0x5555; break;
        case 6: r = __byte_perm(v * 0x01020304, 0x55667788, 0x5142); break;
        default: r = -v;
    }
    out[threadIdx.x] = r;
}

struct Big { int a[10]; double d; char c; };
__device__ __noinline__ Big change(Big b, int k) { b.a[k] += 100; b.d *= 2; b.c = (char)(b.c + k); return b; }
extern "C" __global__ void structs(Big in, double* out) {
    Big b = change(in, threadIdx.x % 10);
    double sum = b.d + b.c;
    for (int i = 0; i < 10; ++i) sum += b.a[i];
    out[threadIdx.x] = sum;
}

extern "C" __global__ void votes(unsigned* out, const int* in) {
    int v = in[threadIdx.x];
    unsigned ballot = __ballot_sync(0xffffffff, v & 1);
    unsigned any = __any_sync(0xffffffff, v > 30), all = __all_sync(0xffffffff, v >= 0);
    unsigned match = __match_any_sync(0xffffffff, v % 5);
    unsigned sum = 0;
    if (v & 1) sum = __reduce_add_sync(ballot, v);      // in a divergent branch
    else sum = __shfl_sync(~ballot, v, 0, 16);
    out[threadIdx.x] = ballot ^ (any << 1) ^ all ^ match ^ (sum << 8) ^ __syncthreads_count(v & 2) ^ __activemask();
}

extern "C" __global__ void spinlock(int* lock, int* total) {
    bool done = false;
    while (!done) {
        if (atomicCAS(lock, 0, 1) == 0) {
            *(volatile int*)total += 1;
            __threadfence();
            atomicExch(lock, 0);
            done = true;
        }
    }
}
#include <cuda_fp16.h>
extern "C" __global__ void halves(const float* in, float* out) {
    int i = threadIdx.x;
    __half2 h = __floats2half2_rn(in[i], in[i] * 3);
    h = __hfma2(h, h, __float2half2_rn(0.25f));
    out[2 * i] = __low2float(h);
    out[2 * i + 1] = __half2float(__hadd(__high2half(h), __float2half(1.0f)));
}
extern "C" __global__ void doubles(const double* in, double* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = sqrt(in[i]) + exp(-in[i]) * sin(in[i]) / (1 + in[i]) + (double)(float)in[i] + floor(in[i]) + (double)(long long)(in[i] * 1e3);
}
