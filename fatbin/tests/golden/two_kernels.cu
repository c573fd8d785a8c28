// SPDX-License-Identifier: MIT OR Apache-2.0
// Source of the golden fat binaries; README.md has the commands.
struct Point {
    char tag;
    double x;
    short weight;
};

template <class T>
__global__ void __launch_bounds__(128) add(T *sum, const T *a, const T *b, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) sum[i] = a[i] + b[i];
}
template __global__ void add<float>(float *, const float *, const float *, int);

extern "C" __global__ void mixed(char c, Point p, short s, float3 f, int *out) {
    out[0] = c + p.tag + s + static_cast<int>(f.y) + static_cast<int>(p.x);
}
