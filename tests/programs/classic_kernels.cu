// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=compute_80
//
// Kernels that benchmark suites have: sorting networks, a radix sort, sparse matrices, graphs, dynamic programming over
// diagonals, a blocked decomposition, a Fourier transform, and option prices.

#include "check_cuda.h"
#include <algorithm>
#include <cmath>
#include <complex>
#include <numeric>
#include <queue>
#include <utility>
#include <vector>

template <class T> struct Device {
    T *memory;
    size_t count;
    explicit Device(const std::vector<T> &values) : count(values.size()) {
        CUDA(cudaMalloc(&memory, count * sizeof(T)));
        put(values);
    }
    explicit Device(size_t count) : Device(std::vector<T>(count)) {}
    ~Device() { cudaFree(memory); }
    void put(const std::vector<T> &values) { CUDA(cudaMemcpy(memory, values.data(), count * sizeof(T), cudaMemcpyHostToDevice)); }
    std::vector<T> get() const {
        std::vector<T> values(count);
        LAUNCHED();
        CUDA(cudaMemcpy(values.data(), memory, count * sizeof(T), cudaMemcpyDeviceToHost));
        return values;
    }
    operator T *() const { return memory; }
};

static unsigned random_number() {
    static unsigned long long state = 0x9e3779b97f4a7c15;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state >> 32;
}

static std::vector<unsigned> random_numbers(size_t count) {
    std::vector<unsigned> values(count);
    for (auto &value : values) value = random_number();
    return values;
}

__global__ void bitonic_step(unsigned *values, int distance, int size) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, other = i ^ distance;
    if (other <= i) return;
    unsigned a = values[i], b = values[other];
    if ((a > b) == ((i & size) == 0)) values[i] = b, values[other] = a;
}

static void bitonic_sort() {
    auto values = random_numbers(4096);
    Device<unsigned> device(values);
    for (int size = 2; size <= 4096; size *= 2)
        for (int distance = size / 2; distance > 0; distance /= 2) bitonic_step<<<16, 256>>>(device, distance, size);
    std::sort(values.begin(), values.end());
    REQUIRE(device.get() == values);
}

const int DIGITS = 16, PART = 1024;

__global__ void count_digits(const unsigned *keys, int n, int shift, int *counts) {
    __shared__ int mine[DIGITS];
    if (threadIdx.x < DIGITS) mine[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * PART + threadIdx.x; i < min(n, (int)(blockIdx.x + 1) * PART); i += blockDim.x)
        atomicAdd(&mine[keys[i] >> shift & (DIGITS - 1)], 1);
    __syncthreads();
    if (threadIdx.x < DIGITS) counts[threadIdx.x * gridDim.x + blockIdx.x] = mine[threadIdx.x];
}

__global__ void scatter_digits(const unsigned *keys, unsigned *sorted, int n, int shift, const int *starts) {
    __shared__ int next[DIGITS];
    int lane = threadIdx.x;
    if (lane < DIGITS) next[lane] = starts[lane * gridDim.x + blockIdx.x];
    __syncwarp();
    for (int i = blockIdx.x * PART + lane; i - lane < (int)(blockIdx.x + 1) * PART; i += 32) {
        unsigned present = __ballot_sync(~0u, i < n);
        if (i < n) {
            unsigned key = keys[i], digit = key >> shift & (DIGITS - 1);
            unsigned same = __match_any_sync(present, digit);
            int rank = __popc(same & ((1u << lane) - 1));
            sorted[next[digit] + rank] = key;
            __syncwarp(present);
            if (rank == 0) next[digit] += __popc(same);
        }
        __syncwarp();
    }
}

static void radix_sort() {
    const int n = 9000, parts = (n + PART - 1) / PART;
    auto values = random_numbers(n);
    Device<unsigned> keys(values), sorted(n);
    Device<int> counts(DIGITS * parts);
    unsigned *from = keys, *to = sorted;
    for (int shift = 0; shift < 32; shift += 4) {
        count_digits<<<parts, 128>>>(from, n, shift, counts);
        auto starts = counts.get();
        int sum = 0;
        for (int &start : starts) sum += std::exchange(start, sum);
        counts.put(starts);
        scatter_digits<<<parts, 32>>>(from, to, n, shift, counts);
        std::swap(from, to);
    }
    std::sort(values.begin(), values.end());
    REQUIRE(keys.get() == values);
}

__global__ void multiply_rows(const int *starts, const int *columns, const float *values, const float *x, float *y, int n) {
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (row >= n) return;
    float sum = 0;
    for (int k = starts[row] + lane; k < starts[row + 1]; k += 32) sum += values[k] * x[columns[k]];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(~0u, sum, offset);
    if (lane == 0) y[row] = sum;
}

__global__ void visit(const int *starts, const int *columns, int *levels, const int *now, int count, int *next, int *next_count, int level) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    for (int k = starts[now[i]]; k < starts[now[i] + 1]; k++)
        if (atomicCAS(&levels[columns[k]], -1, level) == -1) next[atomicAdd(next_count, 1)] = columns[k];
}

static void sparse_matrix_and_graph() {
    const int n = 1500;
    std::vector<int> starts{0}, columns;
    std::vector<float> values, x(n), y(n);
    for (auto &value : x) value = random_number() % 8;
    for (int row = 0; row < n; row++) {
        for (int k = random_number() % 40; k > 0; k--) columns.push_back(random_number() % n), values.push_back(random_number() % 16);
        starts.push_back(columns.size());
        for (int k = starts[row]; k < starts[row + 1]; k++) y[row] += values[k] * x[columns[k]];
    }
    Device<int> device_starts(starts), device_columns(columns);
    Device<float> device_values(values), device_x(x), device_y(n);
    multiply_rows<<<blocks_for(n * 32, 256), 256>>>(device_starts, device_columns, device_values, device_x, device_y, n);
    REQUIRE(device_y.get() == y);

    std::vector<int> levels(n, -1), expected(n, -1);
    std::queue<int> queue({0});
    levels[0] = expected[0] = 0;
    for (; !queue.empty(); queue.pop())
        for (int k = starts[queue.front()]; k < starts[queue.front() + 1]; k++)
            if (expected[columns[k]] < 0) expected[columns[k]] = expected[queue.front()] + 1, queue.push(columns[k]);
    Device<int> device_levels(levels), first(n), second(n), counter(1);
    int *now = first, *next = second, count = 1;
    for (int level = 1; count > 0; level++) {
        CUDA(cudaMemset(counter, 0, sizeof(int)));
        visit<<<blocks_for(count, 128), 128>>>(device_starts, device_columns, device_levels, now, count, next, counter, level);
        count = counter.get()[0];
        std::swap(now, next);
    }
    REQUIRE(device_levels.get() == expected);
}

const int TILE = 16;

// One diagonal of tiles of the matrix of alignment scores.
__global__ void align(int *scores, const int *similar, int columns, int penalty, int first_x, int first_y) {
    __shared__ int tile[TILE + 1][TILE + 1], here[TILE][TILE];
    int t = threadIdx.x, base = columns * TILE * (first_y - (int)blockIdx.x) + TILE * (first_x + blockIdx.x);
    for (int y = 0; y < TILE; y++) here[y][t] = similar[base + columns * (y + 1) + t + 1];
    if (t == 0) tile[0][0] = scores[base];
    tile[t + 1][0] = scores[base + columns * (t + 1)];
    tile[0][t + 1] = scores[base + t + 1];
    __syncthreads();
    for (int diagonal = 0; diagonal < 2 * TILE - 1; diagonal++) {
        int x = t + 1, y = diagonal - t + 1;
        if (y >= 1 && y <= TILE)
            tile[y][x] = max(tile[y - 1][x - 1] + here[y - 1][x - 1], max(tile[y][x - 1], tile[y - 1][x]) - penalty);
        __syncthreads();
    }
    for (int y = 0; y < TILE; y++) scores[base + columns * (y + 1) + t + 1] = tile[y + 1][t + 1];
}

static void alignment() {
    const int n = 128, columns = n + 1, penalty = 10, tiles = n / TILE;
    std::vector<int> scores(columns * columns), similar(columns * columns);
    for (auto &value : similar) value = (int)(random_number() % 21) - 10;
    for (int i = 1; i < columns; i++) scores[i] = scores[i * columns] = -i * penalty;
    Device<int> device(scores), device_similar(similar);
    for (int d = 0; d < 2 * tiles - 1; d++) {
        int x = std::max(0, d - tiles + 1), y = std::min(d, tiles - 1);
        align<<<y - x + 1, TILE>>>(device, device_similar, columns, penalty, x, y);
    }
    for (int y = 1; y < columns; y++)
        for (int x = 1; x < columns; x++)
            scores[y * columns + x] = std::max(scores[(y - 1) * columns + x - 1] + similar[y * columns + x],
                                               std::max(scores[y * columns + x - 1], scores[(y - 1) * columns + x]) - penalty);
    REQUIRE(device.get() == scores);
}

// LU decomposition without pivots: the tile on the diagonal, those beside and below it, the rest.
__global__ void decompose(float *m, int n, int at) {
    __shared__ float tile[TILE][TILE];
    int t = threadIdx.x;
    for (int i = 0; i < TILE; i++) tile[i][t] = m[(at + i) * n + at + t];
    __syncthreads();
    for (int k = 0; k < TILE - 1; k++) {
        if (t > k) {
            tile[t][k] /= tile[k][k];
            for (int j = k + 1; j < TILE; j++) tile[t][j] -= tile[t][k] * tile[k][j];
        }
        __syncthreads();
    }
    for (int i = 0; i < TILE; i++) m[(at + i) * n + at + t] = tile[i][t];
}

__global__ void eliminate(float *m, int n, int at) {
    __shared__ float diagonal[TILE][TILE];
    int t = threadIdx.x % TILE, other = at + (blockIdx.x + 1) * TILE + t;
    for (int i = threadIdx.x / TILE; i < TILE; i += 2) diagonal[i][t] = m[(at + i) * n + at + t];
    __syncthreads();
    float line[TILE];
    if (threadIdx.x < TILE) {
        for (int i = 0; i < TILE; i++) {
            line[i] = m[(at + i) * n + other];
            for (int k = 0; k < i; k++) line[i] -= diagonal[i][k] * line[k];
            m[(at + i) * n + other] = line[i];
        }
    } else {
        for (int i = 0; i < TILE; i++) {
            line[i] = m[other * n + at + i];
            for (int k = 0; k < i; k++) line[i] -= line[k] * diagonal[k][i];
            m[other * n + at + i] = line[i] /= diagonal[i][i];
        }
    }
}

__global__ void update(float *m, int n, int at) {
    __shared__ float left[TILE][TILE], top[TILE][TILE];
    int row = at + (blockIdx.y + 1) * TILE + threadIdx.y, column = at + (blockIdx.x + 1) * TILE + threadIdx.x;
    left[threadIdx.y][threadIdx.x] = m[row * n + at + threadIdx.x];
    top[threadIdx.y][threadIdx.x] = m[(at + threadIdx.y) * n + column];
    __syncthreads();
    float sum = 0;
    for (int k = 0; k < TILE; k++) sum += left[threadIdx.y][k] * top[k][threadIdx.x];
    m[row * n + column] -= sum;
}

static void decomposition() {
    const int n = 80;
    std::vector<float> matrix(n * n);
    for (int i = 0; i < n * n; i++) matrix[i] = random_number() / 4294967296.f + (i % (n + 1) == 0 ? n : 0);
    Device<float> device(matrix);
    for (int at = 0; at < n; at += TILE) {
        unsigned rest = (n - at) / TILE - 1;
        decompose<<<1, TILE>>>(device, n, at);
        if (rest == 0) break;
        eliminate<<<rest, 2 * TILE>>>(device, n, at);
        update<<<dim3(rest, rest), dim3(TILE, TILE)>>>(device, n, at);
    }
    auto found = device.get();
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int k = 0; k <= std::min(i, j); k++) sum += (k == i ? 1.0 : found[i * n + k]) * found[k * n + j];
            if (!(std::fabs(sum - matrix[i * n + j]) < 1e-3)) FAIL("the product at %d, %d is %g, not %g", i, j, sum, matrix[i * n + j]);
        }
}

__global__ void transform(float2 *values, int n, int bits) {
    extern __shared__ float2 shared[];
    float2 *mine = values + blockIdx.x * n;
    for (int i = threadIdx.x; i < n; i += blockDim.x) shared[__brev(i) >> (32 - bits)] = mine[i];
    for (int half = 1; half < n; half *= 2) {
        __syncthreads();
        for (int i = threadIdx.x; i < n / 2; i += blockDim.x) {
            int a = i / half * 2 * half + i % half, b = a + half;
            float sine, cosine;
            sincospif(-(float)(i % half) / half, &sine, &cosine);
            float2 u = shared[a], v = make_float2(shared[b].x * cosine - shared[b].y * sine, shared[b].x * sine + shared[b].y * cosine);
            shared[a] = make_float2(u.x + v.x, u.y + v.y);
            shared[b] = make_float2(u.x - v.x, u.y - v.y);
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x) mine[i] = shared[i];
}

static void fourier_transform() {
    const int n = 256, count = 3;
    std::vector<float2> values(n * count);
    for (auto &value : values) value = make_float2(random_number() / 4294967296.f - 0.5f, random_number() / 4294967296.f - 0.5f);
    Device<float2> device(values);
    transform<<<count, 64, n * sizeof(float2)>>>(device, n, 8);
    auto found = device.get();
    for (int b = 0; b < count; b++)
        for (int k = 0; k < n; k += 7) {
            std::complex<double> sum = 0;
            for (int i = 0; i < n; i++)
                sum += std::complex<double>(values[b * n + i].x, values[b * n + i].y) * std::polar(1.0, -2 * M_PI * k * i / n);
            float2 got = found[b * n + k];
            if (!(std::abs(sum - std::complex<double>(got.x, got.y)) < 1e-4)) FAIL("frequency %d of %d is %g, %g", k, b, got.x, got.y);
        }
}

__device__ float normal_distribution(float d) {
    float k = 1 / (1 + 0.2316419f * fabsf(d));
    float tail = 0.39894228f * __expf(-0.5f * d * d) *
                 (k * (0.31938153f + k * (-0.356563782f + k * (1.781477937f + k * (-1.821255978f + k * 1.330274429f)))));
    return d > 0 ? 1 - tail : tail;
}

const float RATE = 0.02f, VOLATILITY = 0.3f;

__global__ void prices(const float *stock, const float *strike, const float *years, float *call, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float root = __fdividef(1, rsqrtf(years[i]));
    float d1 = __fdividef(__logf(stock[i] / strike[i]) + (RATE + 0.5f * VOLATILITY * VOLATILITY) * years[i], VOLATILITY * root);
    call[i] = stock[i] * normal_distribution(d1) - strike[i] * __expf(-RATE * years[i]) * normal_distribution(d1 - VOLATILITY * root);
}

static void option_prices() {
    const int n = 2000;
    std::vector<float> stock(n), strike(n), years(n);
    auto between = [](float low, float high) { return low + (high - low) * (random_number() / 4294967296.f); };
    for (int i = 0; i < n; i++) stock[i] = between(5, 30), strike[i] = between(1, 100), years[i] = between(0.25f, 10);
    Device<float> device_stock(stock), device_strike(strike), device_years(years), call(n);
    prices<<<blocks_for(n, 128), 128>>>(device_stock, device_strike, device_years, call, n);
    auto found = call.get();
    for (int i = 0; i < n; i++) {
        double root = std::sqrt(years[i]);
        double d1 = (std::log(stock[i] / strike[i]) + (RATE + 0.5 * VOLATILITY * VOLATILITY) * years[i]) / (VOLATILITY * root);
        auto normal = [](double d) { return 0.5 * std::erfc(-d / std::sqrt(2)); };
        double expected = stock[i] * normal(d1) - strike[i] * std::exp(-RATE * years[i]) * normal(d1 - VOLATILITY * root);
        if (!(std::fabs(found[i] - expected) < 2e-4)) FAIL("the price of %d is %g, not %g", i, found[i], expected);
    }
}

int main() {
    bitonic_sort();
    radix_sort();
    sparse_matrix_and_graph();
    alignment();
    decomposition();
    fourier_transform();
    option_prices();
    return pass();
}
