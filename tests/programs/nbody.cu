// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 --use_fast_math
//
// Attraction between bodies, with float4 loads, shared memory and approximate reciprocal square roots, within a tolerance of the
// host's double precision. Argument: the number of bodies.

#include "check_cuda.h"
#include <math.h>
#include <vector>

const int BLOCK = 64;

__global__ void accelerate(const float4 *bodies, float3 *accelerations, int n) {
    __shared__ float4 tile[BLOCK];
    int i = blockIdx.x * BLOCK + threadIdx.x;
    float4 me = i < n ? bodies[i] : make_float4(0, 0, 0, 0);
    float3 sum = make_float3(0, 0, 0);
    for (int start = 0; start < n; start += BLOCK) {
        int j = start + threadIdx.x;
        tile[threadIdx.x] = j < n ? bodies[j] : make_float4(0, 0, 0, 0);
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < BLOCK; k++) {
            float dx = tile[k].x - me.x, dy = tile[k].y - me.y, dz = tile[k].z - me.z;
            float inverse = rsqrtf(dx * dx + dy * dy + dz * dz + 0.01f);
            float force = tile[k].w * inverse * inverse * inverse;
            sum.x += dx * force;
            sum.y += dy * force;
            sum.z += dz * force;
        }
        __syncthreads();
    }
    if (i < n) accelerations[i] = sum;
}

int main(int argc, char **argv) {
    int n = argument(argc, argv, 1, 200);
    std::vector<float4> bodies(n);
    std::vector<float3> accelerations(n);
    for (int i = 0; i < n; i++) bodies[i] = make_float4(sin(i * 1.1), cos(i * 2.3), sin(i * 3.7 + 1), 1 + i % 3);
    float4 *device_bodies;
    float3 *device_accelerations;
    CUDA(cudaMalloc(&device_bodies, n * sizeof(float4)));
    CUDA(cudaMalloc(&device_accelerations, n * sizeof(float3)));
    CUDA(cudaMemcpy(device_bodies, bodies.data(), n * sizeof(float4), cudaMemcpyHostToDevice));
    accelerate<<<blocks_for(n, BLOCK), BLOCK>>>(device_bodies, device_accelerations, n);
    LAUNCHED();
    CUDA(cudaMemcpy(accelerations.data(), device_accelerations, n * sizeof(float3), cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        double sum[3] = {}, size = 0;
        for (int j = 0; j < n; j++) {
            double d[3] = {(double)bodies[j].x - bodies[i].x, (double)bodies[j].y - bodies[i].y, (double)bodies[j].z - bodies[i].z};
            double force = bodies[j].w / pow(d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + 0.01, 1.5);
            for (int k = 0; k < 3; k++) sum[k] += d[k] * force, size += fabs(d[k] * force);
        }
        const float actual[3] = {accelerations[i].x, accelerations[i].y, accelerations[i].z};
        for (int k = 0; k < 3; k++) {
            if (!(fabs(actual[k] - sum[k]) <= 1e-5 * size)) FAIL("acceleration %d of body %d is %g, not %g", k, i, actual[k], sum[k]);
        }
    }
    return pass();
}
