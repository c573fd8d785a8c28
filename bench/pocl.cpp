// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The benchmark's kernels through OpenCL, on all cores of the first CPU device:
//
//     pocl KERNELS.cl N M BODIES WIDTH DOUBLES
//
// prints for each kernel its name, and the nanoseconds per item that pass and that all threads of the process together
// ran, the best of several launches after one that is not counted (OpenCL compiles for a shape at its first launch).
// The sizes, the values and the launch shapes are those of ptx/examples/bench.rs.
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#define CHECK(call) check(call, #call)
static void check(cl_int status, const char *call) {
    if (status != CL_SUCCESS) fprintf(stderr, "pocl: %s gave %d\n", call, status), exit(1);
}

static double now(clockid_t clock) {
    timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

struct Cl {
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    cl_program program;

    explicit Cl(const char *path) {
        cl_platform_id platforms[8];
        cl_uint count = 0;
        CHECK(clGetPlatformIDs(8, platforms, &count));
        bool found = false;
        for (cl_uint i = 0; i < std::min(count, 8u) && !found; ++i)
            found = clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_CPU, 1, &device, nullptr) == CL_SUCCESS;
        if (!found) fputs("pocl: no OpenCL platform has a CPU device\n", stderr), exit(1);
        char name[256] = "", version[256] = "";
        cl_uint units = 0;
        clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof name, name, nullptr);
        clGetDeviceInfo(device, CL_DEVICE_VERSION, sizeof version, version, nullptr);
        clGetDeviceInfo(device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, nullptr);
        fprintf(stderr, "%s, %s, %u compute units\n", version, name, units);
        cl_int error;
        context = clCreateContext(nullptr, 1, &device, nullptr, nullptr, &error);
        CHECK(error);
        queue = clCreateCommandQueue(context, device, 0, &error);
        CHECK(error);
        std::ifstream file(path);
        std::string text{std::istreambuf_iterator<char>(file), {}};
        const char *source = text.c_str();
        program = clCreateProgramWithSource(context, 1, &source, nullptr, &error);
        CHECK(error);
        CHECK(clBuildProgram(program, 1, &device, "-cl-std=CL1.2", nullptr, nullptr));
    }

    template <typename T>
    cl_mem buffer(const std::vector<T> &values) {
        cl_int error;
        cl_mem mem = clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, values.size() * sizeof(T),
                                    const_cast<T *>(values.data()), &error);
        CHECK(error);
        return mem;
    }
};

struct Local {
    size_t bytes;
};

static void set(cl_kernel kernel, cl_uint i, Local local) { CHECK(clSetKernelArg(kernel, i, local.bytes, nullptr)); }
template <typename T>
static void set(cl_kernel kernel, cl_uint i, const T &value) { CHECK(clSetKernelArg(kernel, i, sizeof value, &value)); }

/// Launches a kernel and prints what an item costs; `grid` and `block` as in CUDA.
template <typename... Args>
static void bench(Cl &cl, const char *name, double items, std::array<size_t, 2> grid, std::array<size_t, 2> block, Args... args) {
    cl_int error;
    cl_kernel kernel = clCreateKernel(cl.program, name, &error);
    CHECK(error);
    cl_uint i = 0;
    (set(kernel, i++, args), ...);
    size_t global[2] = {grid[0] * block[0], grid[1] * block[1]};
    double best[2] = {1e30, 1e30};
    for (int round = 0; round < 8; ++round) {
        double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        CHECK(clEnqueueNDRangeKernel(cl.queue, kernel, 2, nullptr, global, block.data(), 0, nullptr, nullptr));
        CHECK(clFinish(cl.queue));
        cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu, wall = now(CLOCK_MONOTONIC) - wall;
        if (round > 0) best[0] = std::min(best[0], wall), best[1] = std::min(best[1], cpu);
    }
    printf("%s %f %f\n", name, best[0] / items, best[1] / items);
    clReleaseKernel(kernel);
}

int main(int argc, char **argv) {
    if (argc != 7) return fputs("usage: pocl KERNELS.cl N M BODIES WIDTH DOUBLES\n", stderr), 2;
    const cl_int n = atoi(argv[2]), m = atoi(argv[3]), bodies = atoi(argv[4]), width = atoi(argv[5]), doubles = atoi(argv[6]);
    const cl_int limit = 200;
    Cl cl(argv[1]);
    std::vector<cl_float> floats(n), ones(n, 1.0f), matrix(m * m, 1.0f), positions(4 * bodies);
    std::vector<cl_uchar> bytes(n);
    std::vector<cl_double> numbers(doubles);
    for (cl_int i = 0; i < n; ++i) floats[i] = i, bytes[i] = i * 7;
    for (cl_int i = 0; i < 4 * bodies; ++i) positions[i] = i * 37 % 101 / 10.0f;
    for (cl_int i = 0; i < doubles; ++i) numbers[i] = i * 0.001;
    cl_mem x = cl.buffer(floats), y = cl.buffer(ones), a = cl.buffer(matrix), b = cl.buffer(matrix), c = cl.buffer(matrix),
           p = cl.buffer(positions), h = cl.buffer(bytes), d = cl.buffer(numbers);

    auto line = [](size_t of) { return std::array<size_t, 2>{of / 256, 1}; };
    const std::array<size_t, 2> block{256, 1}, some{256, 1};
    bench(cl, "saxpy", n, line(n), block, 1.5f, x, y, n);
    bench(cl, "matmul", pow(m, 3), {size_t(m) / 32, size_t(m) / 32}, {32, 32}, a, b, c, m);
    bench(cl, "reduce", n, some, block, x, y, n);
    bench(cl, "histogram", n, some, block, h, y, n);
    bench(cl, "stencil", n, line(n), block, x, y, n, Local{258 * 4});
    bench(cl, "nbody", pow(bodies, 2), line(bodies), block, p, y, bodies);
    bench(cl, "mandelbrot", pow(width, 2), {size_t(width) / 16, size_t(width) / 16}, {16, 16}, y, width, width, limit);
    bench(cl, "doubles", doubles, line(doubles), block, d, y, doubles);
}
