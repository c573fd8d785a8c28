// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Graphs and stream capture of the Driver API.

#include "check_driver.h"
#include "kernels.h"

static const unsigned N = 100;
static CUdeviceptr values, copied;
static CUfunction scale;
static CUstream stream;
static CUcontext context;

static unsigned start[N], result[N];

static void expect(unsigned factor, const char *how) {
    CU(cuStreamSynchronize(stream));
    for (unsigned i = 0; i < N; i++)
        if (result[i] != start[i] * factor + 5) FAIL("%s: element %u is %u", how, i, result[i]);
    memset(result, 0, sizeof result);
}

static CUDA_MEMCPY3D linear(CUdeviceptr device, void *host, bool up) {
    CUDA_MEMCPY3D copy = {};
    copy.srcMemoryType = up ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
    copy.dstMemoryType = up ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
    (up ? copy.srcHost : *(const void **)&copy.dstHost) = host;
    (up ? copy.dstDevice : copy.srcDevice) = device;
    copy.WidthInBytes = sizeof start;
    copy.Height = copy.Depth = 1;
    return copy;
}

static void captured() {
    CUgraph graph;
    CUgraphExec exec;
    CUstreamCaptureStatus status;
    unsigned short factor = 3;
    unsigned n = N;
    void *parameters[] = {&values, &factor, &n};
    CU(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    CU(cuMemcpyHtoDAsync(values, start, sizeof start, stream));
    CU(cuLaunchKernel(scale, 4, 1, 1, 32, 1, 1, 0, stream, parameters, nullptr));
    CU(cuMemsetD16Async(copied, 7, 2 * N, stream));
    CU(cuMemcpyDtoDAsync(copied, values, sizeof start, stream));
    CU(cuMemcpyDtoHAsync(result, copied, sizeof result, stream));
    cuuint64_t id;
    CUgraph capturing;
    const CUgraphNode *last;
    const CUgraphEdgeData *edges;
    size_t count;
    CU(cuStreamGetCaptureInfo(stream, &status, &id, &capturing, &last, &edges, &count));
    REQUIRE_EQUAL(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
    REQUIRE_EQUAL(count, 1);
    REQUIRE_EQUAL(edges[0].type, 0);
    CU(cuStreamEndCapture(stream, &graph));
    REQUIRE(graph == capturing);
    CU(cuGraphGetNodes(graph, nullptr, &count));
    REQUIRE_EQUAL(count, 5);
    CU(cuGraphInstantiate(&exec, graph, 0));
    for (unsigned launch = 1; launch < 4; launch++) {
        for (unsigned i = 0; i < N; i++) start[i] = i * launch;
        CU(cuGraphLaunch(exec, stream));
        expect(3, "captured");
    }

    CU(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CUdeviceptr memory;
    CU(cuMemAlloc(&memory, 64));
    CU(cuMemFree(memory));
    EXPECT(cuStreamSynchronize(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    EXPECT(cuMemsetD8Async(values, 0, 4, stream), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CU(cuStreamIsCapturing(stream, &status));
    REQUIRE_EQUAL(status, CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    CUgraph none = graph;
    EXPECT(cuStreamEndCapture(stream, &none), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    REQUIRE(none == nullptr);
    CU(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT(cuMemAlloc(&memory, 64), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    EXPECT(cuStreamEndCapture(stream, &none), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CU(cuGraphExecDestroy(exec));
    CU(cuGraphDestroy(graph));
}

static void built() {
    CUgraph graph;
    CUgraphExec exec;
    CUgraphNode up, run, down, node;
    unsigned short factor = 9;
    unsigned n = N;
    void *parameters[] = {&values, &factor, &n};
    for (unsigned i = 0; i < N; i++) start[i] = 1000 + i;
    CU(cuGraphCreate(&graph, 0));
    CUDA_MEMCPY3D copy = linear(values, start, true);
    CU(cuGraphAddMemcpyNode(&up, graph, nullptr, 0, &copy, context));
    CUDA_KERNEL_NODE_PARAMS kernel = {};
    kernel.func = scale;
    kernel.gridDimX = 4;
    kernel.gridDimY = kernel.gridDimZ = kernel.blockDimY = kernel.blockDimZ = 1;
    kernel.blockDimX = 32;
    kernel.kernelParams = parameters;
    CU(cuGraphAddKernelNode(&run, graph, &up, 1, &kernel));
    copy = linear(values, result, false);
    CU(cuGraphAddMemcpyNode(&down, graph, &run, 1, &copy, context));
    CUDA_MEMSET_NODE_PARAMS fill = {};
    fill.dst = copied;
    fill.value = 0xabcd;
    fill.elementSize = 2;
    fill.width = 4;
    fill.height = 3;
    fill.pitch = 16;
    CU(cuGraphAddMemsetNode(&node, graph, nullptr, 0, &fill, context));
    CU(cuMemsetD8(copied, 0, sizeof start));
    CU(cuGraphInstantiate(&exec, graph, 0));
    CU(cuGraphLaunch(exec, stream));
    expect(9, "built");
    unsigned short filled[24];
    CU(cuMemcpyDtoH(filled, copied, sizeof filled));
    for (int i = 0; i < 24; i++) REQUIRE_ELEMENT(filled[i], i % 8 < 4 ? 0xabcd : 0, i);

    // What the nodes were made with, and arguments in a buffer.
    CUDA_KERNEL_NODE_PARAMS found;
    CU(cuGraphKernelNodeGetParams(run, &found));
    REQUIRE(found.func == scale);
    REQUIRE_EQUAL(found.gridDimX, 4);
    REQUIRE_EQUAL(*(unsigned short *)found.kernelParams[1], 9);
    CUDA_MEMCPY3D was;
    CU(cuGraphMemcpyNodeGetParams(up, &was));
    REQUIRE(was.srcHost == start && was.dstDevice == values && was.WidthInBytes == sizeof start);
    REQUIRE(was.srcMemoryType == CU_MEMORYTYPE_HOST && was.dstMemoryType == CU_MEMORYTYPE_DEVICE);
    CUDA_MEMSET_NODE_PARAMS filled_with;
    CU(cuGraphMemsetNodeGetParams(node, &filled_with));
    REQUIRE(filled_with.dst == copied && filled_with.width == 4 && filled_with.height == 3 && filled_with.pitch == 16);
    struct {
        CUdeviceptr values;
        unsigned short factor;
        unsigned n;
    } buffer = {values, 12, N};
    size_t size = sizeof buffer;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_END};
    EXPECT(cuGraphKernelNodeSetParams(down, &kernel), CUDA_ERROR_INVALID_VALUE);
    kernel.extra = extra;
    EXPECT(cuGraphKernelNodeSetParams(run, &kernel), CUDA_ERROR_INVALID_VALUE); // both ways at once
    kernel.kernelParams = nullptr;
    CU(cuGraphExecKernelNodeSetParams(exec, run, &kernel));
    CU(cuGraphLaunch(exec, stream));
    expect(12, "with a buffer");

    // The driver's structure for all kinds of nodes.
    CUgraphNodeParams params = {};
    params.type = CU_GRAPH_NODE_TYPE_KERNEL;
    params.kernel.func = scale;
    params.kernel.gridDimX = 4;
    params.kernel.gridDimY = params.kernel.gridDimZ = params.kernel.blockDimY = params.kernel.blockDimZ = 1;
    params.kernel.blockDimX = 32;
    params.kernel.kernelParams = parameters;
    factor = 2;
    CU(cuGraphNodeSetParams(run, &params));
    params = {};
    params.type = CU_GRAPH_NODE_TYPE_MEMCPY;
    params.memcpy.copyCtx = context;
    params.memcpy.copyParams = linear(values, result, false);
    CU(cuGraphAddNode(&node, graph, &run, nullptr, 1, &params));
    CUgraphExecUpdateResultInfo difference;
    EXPECT(cuGraphExecUpdate(exec, graph, &difference), CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    REQUIRE_EQUAL(difference.result, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
    CU(cuGraphDestroyNode(node));
    CU(cuGraphExecUpdate(exec, graph, &difference));
    REQUIRE_EQUAL(difference.result, CU_GRAPH_EXEC_UPDATE_SUCCESS);
    CU(cuGraphDestroy(graph));
    CU(cuGraphLaunch(exec, stream));
    expect(2, "updated");
    CU(cuGraphExecDestroy(exec));
}

int main() {
    CUdevice device;
    CUmodule module;
    CU(cuInit(0));
    CU(cuDeviceGet(&device, 0));
    CU(cuCtxCreate(&context, nullptr, 0, device));
    CU(cuModuleLoadData(&module, KERNELS));
    CU(cuModuleGetFunction(&scale, module, "scale"));
    CU(cuMemAlloc(&values, sizeof start));
    CU(cuMemAlloc(&copied, sizeof start));
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    captured();
    built();
    CU(cuStreamDestroy(stream));
    CU(cuMemFree(values));
    CU(cuMemFree(copied));
    CU(cuModuleUnload(module));
    CU(cuCtxDestroy(context));
    return pass();
}
