// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Handles that never existed, or exist no more, give an error. (NVIDIA's driver follows some of them and crashes.)

#include "check_cuda.h"

__global__ void nothing() {}

static void streams(cudaStream_t stream) {
    unsigned flags;
    EXPECT_LAST(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamQuery(stream), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamGetFlags(stream, &flags), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
    nothing<<<1, 1, 0, stream>>>();
    EXPECT(cudaGetLastError(), cudaErrorInvalidResourceHandle);
}

static void events(cudaEvent_t event, cudaEvent_t good) {
    float milliseconds;
    EXPECT_LAST(cudaEventRecord(event, 0), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventSynchronize(event), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventQuery(event), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamWaitEvent(0, event, 0), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventElapsedTime(&milliseconds, event, good), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventElapsedTime(&milliseconds, good, event), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventDestroy(event), cudaErrorInvalidResourceHandle);
}

// A number in the place of a graph, of a node, and of a graph that can be launched.
static void graphs(unsigned long long number, cudaStream_t stream) {
    cudaGraph_t graph = (cudaGraph_t)number, good, out;
    cudaGraphNode_t node = (cudaGraphNode_t)number, empty, new_node;
    cudaGraphExec_t exec = (cudaGraphExec_t)number, good_exec, new_exec;
    size_t count;
    cudaGraphNodeType type;
    cudaKernelNodeParams kernel;
    cudaMemcpy3DParms copy = {};
    cudaMemsetParams fill;
    cudaHostNodeParams host = {[](void *) {}, nullptr};
    CUDA(cudaGraphCreate(&good, 0));
    CUDA(cudaGraphAddEmptyNode(&empty, good, nullptr, 0));
    CUDA(cudaGraphInstantiate(&good_exec, good, 0));

    EXPECT_LAST(cudaGraphAddEmptyNode(&new_node, graph, nullptr, 0), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphAddHostNode(&new_node, graph, nullptr, 0, &host), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphAddChildGraphNode(&new_node, graph, nullptr, 0, good), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphAddChildGraphNode(&new_node, good, nullptr, 0, graph), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphGetNodes(graph, nullptr, &count), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphGetRootNodes(graph, nullptr, &count), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &count), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphAddDependencies(graph, &empty, &empty, nullptr, 1), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphClone(&out, graph), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphInstantiate(&new_exec, graph, 0), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphDestroy(graph), cudaErrorInvalidValue);
    EXPECT_LAST(cudaStreamBeginCaptureToGraph(stream, graph, nullptr, nullptr, 0, cudaStreamCaptureModeGlobal),
                cudaErrorInvalidValue);

    EXPECT_LAST(cudaGraphAddEmptyNode(&new_node, good, &node, 1), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphAddDependencies(good, &node, &empty, nullptr, 1), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphAddDependencies(good, &empty, &node, nullptr, 1), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphRemoveDependencies(good, &node, &empty, nullptr, 1), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphNodeGetType(node, &type), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphNodeGetDependencies(node, nullptr, nullptr, &count), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphNodeGetDependentNodes(node, nullptr, nullptr, &count), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphKernelNodeGetParams(node, &kernel), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphMemcpyNodeGetParams(node, &copy), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphMemsetNodeGetParams(node, &fill), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphHostNodeSetParams(node, &host), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphChildGraphNodeGetGraph(node, &out), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphNodeFindInClone(&new_node, node, good), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphExecHostNodeSetParams(good_exec, node, &host), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphNodeSetEnabled(good_exec, node, 0), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphDestroyNode(node), cudaErrorInvalidValue);

    EXPECT_LAST(cudaGraphLaunch(exec, stream), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphUpload(exec, stream), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphExecUpdate(exec, good, nullptr), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphExecUpdate(good_exec, graph, nullptr), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphExecHostNodeSetParams(exec, empty, &host), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphExecChildGraphNodeSetParams(exec, empty, good), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphExecDestroy(exec), cudaErrorInvalidValue);

    EXPECT_LAST(cudaGraphLaunch(good_exec, (cudaStream_t)number), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamBeginCapture((cudaStream_t)number, cudaStreamCaptureModeGlobal), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaGraphAddEventRecordNode(&new_node, good, nullptr, 0, (cudaEvent_t)number), cudaErrorInvalidResourceHandle);
    CUDA(cudaGraphExecDestroy(good_exec));
    CUDA(cudaGraphDestroy(good));
    EXPECT_LAST(cudaGraphDestroy(good), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphNodeGetType(empty, &type), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphLaunch(good_exec, stream), cudaErrorInvalidValue);
}

int main() {
    cudaStream_t stream;
    cudaEvent_t event, good;
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaEventCreate(&event));
    CUDA(cudaEventCreate(&good));
    CUDA(cudaEventRecord(good, 0));
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaEventDestroy(event));
    streams(stream);
    events(event, good);
    // Pointers into the program, odd numbers, the other kind of handle.
    static char memory[256];
    const unsigned long long numbers[] = {3, 17, 0x7fffffff, 0xdeadbeef, 0x123456789abcdef0, ~0ull, (unsigned long long)memory};
    for (unsigned long long number : numbers) {
        streams((cudaStream_t)number);
        events((cudaEvent_t)number, good);
    }
    streams((cudaStream_t)good);
    CUDA(cudaStreamCreate(&stream));
    events((cudaEvent_t)stream, good);
    for (unsigned long long number : numbers) graphs(number, stream);
    graphs((unsigned long long)event, stream);
    nothing<<<1, 1, 0, stream>>>();
    LAUNCHED();
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaDeviceSynchronize());
    return pass();
}
