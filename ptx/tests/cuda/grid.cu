// SPDX-License-Identifier: MIT OR Apache-2.0
#include <cooperative_groups.h>
namespace cg = cooperative_groups;
extern "C" __global__ void gridsync(int* data, int rounds) {
    cg::grid_group grid = cg::this_grid();
    int n = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
    for (int r = 0; r < rounds; ++r) {
        int v = data[(i + 1) % n];
        grid.sync();
        data[i] = v + 1;
        grid.sync();
    }
}
