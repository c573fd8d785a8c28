// SPDX-License-Identifier: MIT OR Apache-2.0
// The kernels of ptx/tests/cuda/basic.cu that the benchmark runs, in OpenCL. What CUDA does with shuffles within a warp
// is a tree in local memory here.
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#define TILE 32

kernel void saxpy(float a, global const float *x, global float *y, int n) {
    int i = get_global_id(0);
    if (i < n) y[i] = a * x[i] + y[i];
}

kernel void matmul(global const float *a, global const float *b, global float *c, int n) {
    local float as[TILE][TILE], bs[TILE][TILE];
    int tx = get_local_id(0), ty = get_local_id(1), row = get_global_id(1), column = get_global_id(0);
    float sum = 0;
    for (int t = 0; t < n / TILE; ++t) {
        as[ty][tx] = a[row * n + t * TILE + tx];
        bs[ty][tx] = b[(t * TILE + ty) * n + column];
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int k = 0; k < TILE; ++k) sum += as[ty][k] * bs[k][tx];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    c[row * n + column] = sum;
}

kernel void reduce(global const int *in, global int *out, int n) {
    local int partial[256];
    int t = get_local_id(0), sum = 0;
    for (int i = get_global_id(0); i < n; i += get_global_size(0)) sum += in[i];
    partial[t] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int offset = get_local_size(0) / 2; offset > 0; offset /= 2) {
        if (t < offset) partial[t] += partial[t + offset];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (t == 0) atomic_add(out, partial[0]);
}

kernel void histogram(global const uchar *in, global uint *bins, int n) {
    local uint mine[256];
    for (int i = get_local_id(0); i < 256; i += get_local_size(0)) mine[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = get_global_id(0); i < n; i += get_global_size(0)) atomic_add(&mine[in[i]], 1u);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = get_local_id(0); i < 256; i += get_local_size(0)) atomic_add(&bins[i], mine[i]);
}

kernel void stencil(global const float *in, global float *out, int n, local float *tile) {
    int i = get_global_id(0), t = get_local_id(0), s = t + 1;
    tile[s] = i < n ? in[i] : 0.0f;
    if (t == 0) tile[0] = i > 0 ? in[i - 1] : 0.0f;
    if (t == get_local_size(0) - 1) tile[s + 1] = i + 1 < n ? in[i + 1] : 0.0f;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (i < n) out[i] = 0.25f * tile[s - 1] + 0.5f * tile[s] + 0.25f * tile[s + 1];
}

kernel void nbody(global const float4 *p, global float *acc, int n) {
    int i = get_global_id(0);
    if (i >= n) return;
    float4 me = p[i];
    float ax = 0, ay = 0, az = 0;
    for (int j = 0; j < n; ++j) {
        float4 o = p[j];
        float dx = o.x - me.x, dy = o.y - me.y, dz = o.z - me.z;
        float inv = rsqrt(dx * dx + dy * dy + dz * dz + 0.01f);
        float f = o.w * inv * inv * inv;
        ax += f * dx, ay += f * dy, az += f * dz;
    }
    vstore3((float3)(ax, ay, az), i, acc);
}

kernel void mandelbrot(global int *out, int width, int height, int limit) {
    int x = get_global_id(0), y = get_global_id(1);
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

kernel void doubles(global const double *in, global double *out, int n) {
    int i = get_global_id(0);
    if (i < n)
        out[i] = sqrt(in[i]) + exp(-in[i]) * sin(in[i]) / (1 + in[i]) + (double)(float)in[i] + floor(in[i]) +
                 (double)(long)(in[i] * 1e3);
}
