// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Functions of graphs as each release of the Runtime API has them: the version node that a program asks for decides which
// arguments there are. (Each of NVIDIA's libraries has one node.)

#include <dlfcn.h>

#include "check_cuda.h"

// The function of a name for programs of a release.
template <typename Function> static Function *of(const char *name, const char *release) {
    void *found = dlvsym(RTLD_DEFAULT, name, release);
    if (!found) FAIL("there is no %s of %s", name, release);
    return (Function *)found;
}

int main() {
    cudaStream_t stream;
    int *device, value;
    CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CUDA(cudaMalloc(&device, sizeof value));

    // 10.0: a capture has no mode.
    cudaGraph_t graph;
    auto begin = of<cudaError_t(cudaStream_t)>("cudaStreamBeginCapture", "libcudart.so.10.0");
    CUDA(begin(stream));
    CUDA(cudaMemsetAsync(device, 1, sizeof value, stream));

    // 10.1, 11.3 and 12.3: ever more is said of a capture.
    cudaStreamCaptureStatus status;
    unsigned long long id, again;
    cudaGraph_t capturing;
    const cudaGraphNode_t *last;
    const cudaGraphEdgeData *data;
    size_t count;
    auto info = of<cudaError_t(cudaStream_t, cudaStreamCaptureStatus *, unsigned long long *)>("cudaStreamGetCaptureInfo", "libcudart.so.11.0");
    CUDA(info(stream, &status, &id));
    REQUIRE_EQUAL(status, cudaStreamCaptureStatusActive);
    auto info2 = (cudaError_t(*)(cudaStream_t, cudaStreamCaptureStatus *, unsigned long long *, cudaGraph_t *,
                                 const cudaGraphNode_t **, size_t *))dlsym(RTLD_DEFAULT, "cudaStreamGetCaptureInfo_v2");
    CUDA(info2(stream, &status, &again, &capturing, &last, &count));
    REQUIRE(again == id);
    REQUIRE_EQUAL(count, 1);
    cudaGraphNode_t fill = last[0];
    auto info3 = (decltype(&cudaStreamGetCaptureInfo))dlsym(RTLD_DEFAULT, "cudaStreamGetCaptureInfo_v3");
    CUDA(info3(stream, &status, &again, nullptr, nullptr, &data, &count));
    REQUIRE(again == id && data != nullptr);
    auto change = of<cudaError_t(cudaStream_t, cudaGraphNode_t *, size_t, unsigned)>("cudaStreamUpdateCaptureDependencies", "libcudart.so.12");
    CUDA(change(stream, nullptr, 0, cudaStreamSetCaptureDependencies));
    CUDA(cudaLaunchHostFunc(stream, [](void *) {}, nullptr));
    CUDA(cudaStreamUpdateCaptureDependencies(stream, &fill, nullptr, 0, cudaStreamAddCaptureDependencies));
    EXPECT_LAST(cudaStreamEndCapture(stream, nullptr), cudaErrorInvalidValue);
    CUDA(cudaStreamEndCapture(stream, &graph));
    REQUIRE(graph == capturing);
    cudaGraphNode_t nodes[2], from[3], to[3];
    count = 2;
    CUDA(cudaGraphGetNodes(graph, nodes, &count));
    REQUIRE_EQUAL(count, 2);

    // Up to 12.9: edges have no data.
    auto edges = of<cudaError_t(cudaGraph_t, cudaGraphNode_t *, cudaGraphNode_t *, size_t *)>("cudaGraphGetEdges", "libcudart.so.12");
    auto add = of<cudaError_t(cudaGraph_t, const cudaGraphNode_t *, const cudaGraphNode_t *, size_t)>("cudaGraphAddDependencies", "libcudart.so.12");
    auto remove = of<cudaError_t(cudaGraph_t, const cudaGraphNode_t *, const cudaGraphNode_t *, size_t)>("cudaGraphRemoveDependencies", "libcudart.so.11.0");
    auto before = of<cudaError_t(cudaGraphNode_t, cudaGraphNode_t *, size_t *)>("cudaGraphNodeGetDependencies", "libcudart.so.11.0");
    auto after = of<cudaError_t(cudaGraphNode_t, cudaGraphNode_t *, size_t *)>("cudaGraphNodeGetDependentNodes", "libcudart.so.11.0");
    CUDA(edges(graph, nullptr, nullptr, &count));
    REQUIRE_EQUAL(count, 0);
    CUDA(add(graph, &nodes[1], &nodes[0], 1));
    count = 3;
    CUDA(edges(graph, from, to, &count));
    REQUIRE_EQUAL(count, 1);
    REQUIRE(from[0] == nodes[1] && to[0] == nodes[0] && from[1] == nullptr && to[2] == nullptr);
    CUDA(before(nodes[0], nullptr, &count));
    REQUIRE_EQUAL(count, 1);
    CUDA(after(nodes[0], nullptr, &count));
    REQUIRE_EQUAL(count, 0);

    // Up to 11.8: a graph is instantiated with a log, and updated with two results.
    cudaGraphExec_t exec;
    cudaGraphNode_t wrong = nullptr;
    char log[200] = "untouched";
    auto instantiate = of<cudaError_t(cudaGraphExec_t *, cudaGraph_t, cudaGraphNode_t *, char *, size_t)>("cudaGraphInstantiate", "libcudart.so.11.0");
    CUDA(add(graph, &nodes[0], &nodes[1], 1));
    EXPECT_LAST(instantiate(&exec, graph, &wrong, log, sizeof log), cudaErrorInvalidValue);
    REQUIRE(wrong == nodes[0] || wrong == nodes[1]);
    REQUIRE(strstr(log, "cycle"));
    CUDA(remove(graph, &nodes[0], &nodes[1], 1));
    CUDA(instantiate(&exec, graph, nullptr, nullptr, 0));
    auto update = of<cudaError_t(cudaGraphExec_t, cudaGraph_t, cudaGraphNode_t *, cudaGraphExecUpdateResult *)>("cudaGraphExecUpdate", "libcudart.so.11.0");
    cudaGraphExecUpdateResult result;
    CUDA(update(exec, graph, &wrong, &result));
    REQUIRE_EQUAL(result, cudaGraphExecUpdateSuccess);
    CUDA(remove(graph, &nodes[1], &nodes[0], 1));
    EXPECT_LAST(update(exec, graph, &wrong, &result), cudaErrorGraphExecUpdateFailure);
    REQUIRE_EQUAL(result, cudaGraphExecUpdateErrorTopologyChanged);
    REQUIRE(wrong == nodes[0]);
    CUDA(cudaGraphLaunch(exec, stream));
    CUDA(cudaStreamSynchronize(stream));
    CUDA(cudaMemcpy(&value, device, sizeof value, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(value, 0x01010101);

    // 12: one flag word, and nodes of all kinds by one function.
    cudaGraphNode_t node;
    auto any = of<cudaError_t(cudaGraphNode_t *, cudaGraph_t, const cudaGraphNode_t *, size_t, cudaGraphNodeParams *)>("cudaGraphAddNode", "libcudart.so.12");
    cudaGraphNodeParams params = {};
    params.type = cudaGraphNodeTypeEmpty;
    CUDA(any(&node, graph, nodes, 2, &params));
    CUDA(before(node, nullptr, &count));
    REQUIRE_EQUAL(count, 2);
    params.type = cudaGraphNodeTypeConditional;
    EXPECT_LAST(any(&node, graph, nodes, 2, &params), cudaErrorNotSupported);
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphDestroy(graph));
    CUDA(cudaFree(device));
    CUDA(cudaStreamDestroy(stream));
    return pass();
}
