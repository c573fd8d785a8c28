// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Stream capture: what streams are given becomes a graph, which does it as often as it is launched; forks and joins by events;
// what a capture forbids, and what that does to it; graphs that are captured again and updated.

#include <thread>

#include "check_cuda.h"

const int N = 1000, SIZE = N * sizeof(int);

__global__ void add(int *values, int n, int amount) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) values[i] += amount;
}

__global__ void multiply(int *values, int n, int factor) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) values[i] *= factor;
}

__global__ void sum(int *to, const int *a, const int *b, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) to[i] = a[i] + b[i];
}

static cudaStream_t stream, other;
static int *device, *second, *third;

static cudaStreamCaptureStatus status_of(cudaStream_t of) {
    cudaStreamCaptureStatus status;
    CUDA(cudaStreamIsCapturing(of, &status));
    return status;
}

static size_t nodes_of(cudaGraph_t graph) {
    size_t count;
    CUDA(cudaGraphGetNodes(graph, nullptr, &count));
    return count;
}

static void expect_all(const int *memory, int value, const char *what) {
    int host[N];
    CUDA(cudaMemcpy(host, memory, SIZE, cudaMemcpyDeviceToHost));
    for (int i = 0; i < N; i++)
        if (host[i] != value) FAIL("%s: element %d is %d, not %d", what, i, host[i], value);
}

// What is captured is not done, then done once for each launch; kernel arguments are those of the capture.
static void one_stream() {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CUDA(cudaMemset(device, 0, SIZE));
    int amount = 3;
    CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    REQUIRE_EQUAL(status_of(stream), cudaStreamCaptureStatusActive);
    REQUIRE_EQUAL(status_of(other), cudaStreamCaptureStatusNone);
    add<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, amount);
    LAUNCHED();
    amount = 100;
    multiply<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, 2);
    LAUNCHED();
    CUDA(cudaStreamEndCapture(stream, &graph));
    REQUIRE_EQUAL(status_of(stream), cudaStreamCaptureStatusNone);
    REQUIRE_EQUAL(nodes_of(graph), 2);
    CUDA(cudaStreamSynchronize(stream));
    expect_all(device, 0, "captured only");
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    CUDA(cudaGraphDestroy(graph)); // what was made of it stays
    expect_all(device, 0, "instantiated only");
    int expected = 0;
    for (int i = 0; i < 5; i++) {
        CUDA(cudaGraphLaunch(exec, i % 2 ? other : stream)); // one behind the other also in two streams
        expected = (expected + 3) * 2;
    }
    CUDA(cudaStreamSynchronize(stream));
    CUDA(cudaStreamSynchronize(other));
    expect_all(device, expected, "five launches");
    CUDA(cudaGraphExecDestroy(exec));
}

// Copies of all directions, fills and functions. Pageable memory is read and written by each launch.
static void copies(bool pinned) {
    static int pageable_in[N], pageable_out[N];
    int *in = pageable_in, *out = pageable_out;
    if (pinned) {
        CUDA(cudaMallocHost(&in, SIZE));
        CUDA(cudaMallocHost(&out, SIZE));
    }
    struct Plan {
        int *in, calls, factor;
    } plan = {in, 0, 0};
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    auto write = [](void *data) { // before the copy that reads it
        Plan *plan = (Plan *)data;
        plan->calls++;
        for (int i = 0; i < N; i++) plan->in[i] = i * plan->factor;
    };
    CUDA(cudaLaunchHostFunc(stream, write, &plan));
    CUDA(cudaMemcpyAsync(device, in, SIZE, cudaMemcpyHostToDevice, stream));
    CUDA(cudaMemsetAsync(second, 1, SIZE, stream));
    CUDA(cudaMemcpy2DAsync(second, 8, device, 8, 4, N / 2, cudaMemcpyDeviceToDevice, stream)); // every other one
    CUDA(cudaMemcpyAsync(out, second, SIZE, cudaMemcpyDefault, stream));
    CUDA(cudaStreamEndCapture(stream, &graph));
    REQUIRE_EQUAL(nodes_of(graph), 5);
    REQUIRE_EQUAL(plan.calls, 0);
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    for (int launch = 1; launch <= 3; launch++) {
        plan.factor = launch;
        memset(out, 0, SIZE);
        CUDA(cudaGraphLaunch(exec, stream));
        CUDA(cudaStreamSynchronize(stream));
        REQUIRE_EQUAL(plan.calls, launch);
        for (int i = 0; i < N; i++) REQUIRE_ELEMENT(out[i], i % 2 ? 0x01010101 : i * launch, i);
    }
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphDestroy(graph));
    if (pinned) {
        CUDA(cudaFreeHost(in));
        CUDA(cudaFreeHost(out));
    }
}

// An event carries the capture to another stream, and another one back.
static void fork_and_join() {
    cudaEvent_t fork, join;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CUDA(cudaEventCreate(&fork));
    CUDA(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
    CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    CUDA(cudaMemsetAsync(device, 0, SIZE, stream));
    CUDA(cudaMemsetAsync(second, 0, SIZE, stream));
    CUDA(cudaEventRecord(fork, stream));
    CUDA(cudaStreamWaitEvent(other, fork, 0));
    REQUIRE_EQUAL(status_of(other), cudaStreamCaptureStatusActive);
    add<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, 5);
    add<<<blocks_for(N, 128), 128, 0, other>>>(second, N, 7);
    CUDA(cudaEventRecord(join, other));
    CUDA(cudaStreamWaitEvent(stream, join, 0));
    sum<<<blocks_for(N, 128), 128, 0, stream>>>(third, device, second, N);
    LAUNCHED();

    cudaStreamCaptureStatus status;
    unsigned long long id, other_id;
    cudaGraph_t capturing;
    const cudaGraphNode_t *last;
    const cudaGraphEdgeData *data;
    size_t count;
    CUDA(cudaStreamGetCaptureInfo(stream, &status, &id, &capturing, &last, &data, &count));
    CUDA(cudaStreamGetCaptureInfo(other, &status, &other_id, nullptr, nullptr, nullptr, nullptr));
    REQUIRE_EQUAL(status, cudaStreamCaptureStatusActive);
    REQUIRE_EQUAL(count, 1);
    REQUIRE(id == other_id && id != 0);
    cudaGraphNodeType type;
    CUDA(cudaGraphNodeGetType(last[0], &type));
    REQUIRE_EQUAL(type, cudaGraphNodeTypeKernel);

    CUDA(cudaStreamEndCapture(stream, &graph));
    REQUIRE(graph == capturing);
    REQUIRE_EQUAL(status_of(other), cudaStreamCaptureStatusNone);
    REQUIRE_EQUAL(nodes_of(graph), 5);
    size_t edges, roots;
    CUDA(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges));
    CUDA(cudaGraphGetRootNodes(graph, nullptr, &roots));
    REQUIRE_EQUAL(edges, 5);
    REQUIRE_EQUAL(roots, 1);
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    for (int i = 0; i < 3; i++) CUDA(cudaGraphLaunch(exec, stream));
    CUDA(cudaStreamSynchronize(stream));
    expect_all(third, 12, "both branches");

    // An event that was recorded in a capture is none to wait for, until it is recorded again.
    EXPECT_LAST(cudaEventQuery(fork), cudaErrorCapturedEvent);
    EXPECT_LAST(cudaEventSynchronize(fork), cudaErrorCapturedEvent);
    CUDA(cudaEventRecord(fork, stream));
    CUDA(cudaEventSynchronize(fork));
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphDestroy(graph));
    CUDA(cudaEventDestroy(fork));
    CUDA(cudaEventDestroy(join));
}

// Events outside of the graph: recorded and waited for by each launch.
static void external_events() {
    cudaEvent_t done;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CUDA(cudaEventCreate(&done));
    CUDA(cudaMemset(device, 0, SIZE));
    CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    add<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, 1);
    CUDA(cudaEventRecordWithFlags(done, stream, cudaEventRecordExternal));
    CUDA(cudaStreamWaitEvent(stream, done, cudaEventWaitExternal));
    CUDA(cudaStreamEndCapture(stream, &graph));
    cudaGraphNode_t nodes[3];
    size_t count = 3;
    CUDA(cudaGraphGetNodes(graph, nodes, &count));
    REQUIRE_EQUAL(count, 3);
    cudaEvent_t event;
    CUDA(cudaGraphEventRecordNodeGetEvent(nodes[1], &event));
    REQUIRE(event == done);
    CUDA(cudaGraphEventWaitNodeGetEvent(nodes[2], &event));
    REQUIRE(event == done);
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    CUDA(cudaGraphLaunch(exec, stream));
    CUDA(cudaEventSynchronize(done));
    expect_all(device, 1, "an event of a graph");
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphDestroy(graph));
    CUDA(cudaEventDestroy(done));
}

// Ends a capture that an error has made worthless.
static void expect_invalidated() {
    cudaGraph_t graph = (cudaGraph_t)0x77;
    REQUIRE_EQUAL(status_of(stream), cudaStreamCaptureStatusInvalidated);
    add<<<1, 32, 0, stream>>>(device, N, 1);
    EXPECT(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
    EXPECT_LAST(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    REQUIRE(graph == nullptr);
    REQUIRE_EQUAL(status_of(stream), cudaStreamCaptureStatusNone);
}

static void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal) {
    CUDA(cudaStreamBeginCapture(stream, mode));
    CUDA(cudaMemsetAsync(device, 0, SIZE, stream));
}

static void forbidden() {
    cudaGraph_t graph;
    cudaEvent_t event;
    cudaStream_t blocking;
    int value, *memory;
    CUDA(cudaEventCreate(&event));
    CUDA(cudaStreamCreate(&blocking));

    // Waiting for what is not there to be waited for.
    begin();
    EXPECT_LAST(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
    expect_invalidated();
    begin();
    EXPECT_LAST(cudaStreamQuery(stream), cudaErrorStreamCaptureUnsupported);
    expect_invalidated();
    begin();
    EXPECT_LAST(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
    expect_invalidated();
    begin();
    CUDA(cudaEventRecord(event, stream));
    EXPECT_LAST(cudaEventQuery(event), cudaErrorCapturedEvent);
    expect_invalidated();
    CUDA(cudaEventRecord(event, stream));
    CUDA(cudaEventSynchronize(event));

    // Calls that a capture does not see, as far as the modes forbid them.
    begin();
    EXPECT_LAST(cudaMalloc(&memory, 16), cudaErrorStreamCaptureUnsupported);
    expect_invalidated();
    begin(cudaStreamCaptureModeRelaxed);
    CUDA(cudaMalloc(&memory, 16));
    CUDA(cudaStreamEndCapture(stream, &graph));
    CUDA(cudaGraphDestroy(graph));
    begin();
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    CUDA(cudaThreadExchangeStreamCaptureMode(&mode));
    REQUIRE_EQUAL(mode, cudaStreamCaptureModeGlobal);
    CUDA(cudaFree(memory));
    CUDA(cudaThreadExchangeStreamCaptureMode(&mode));
    CUDA(cudaStreamEndCapture(stream, &graph));
    CUDA(cudaGraphDestroy(graph));
    begin(cudaStreamCaptureModeThreadLocal);
    std::thread([&] {
        CUDA(cudaMalloc(&memory, 16));
        CUDA(cudaFree(memory));
    }).join();
    CUDA(cudaStreamEndCapture(stream, &graph));
    CUDA(cudaGraphDestroy(graph));
    begin();
    std::thread([&] { EXPECT_LAST(cudaMalloc(&memory, 16), cudaErrorStreamCaptureUnsupported); }).join();
    expect_invalidated();

    // The default stream waits for streams that are not non-blocking.
    CUDA(cudaStreamBeginCapture(blocking, cudaStreamCaptureModeGlobal));
    cudaStreamCaptureStatus status;
    EXPECT_LAST(cudaStreamIsCapturing(nullptr, &status), cudaErrorStreamCaptureImplicit);
    REQUIRE_EQUAL(status_of(blocking), cudaStreamCaptureStatusActive);
    EXPECT_LAST(cudaMemcpy(&value, device, 4, cudaMemcpyDeviceToHost), cudaErrorStreamCaptureImplicit);
    add<<<1, 32>>>(device, N, 1);
    EXPECT(cudaGetLastError(), cudaErrorStreamCaptureImplicit);
    EXPECT_LAST(cudaStreamEndCapture(blocking, &graph), cudaErrorStreamCaptureInvalidated);
    EXPECT_LAST(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal), cudaErrorStreamCaptureUnsupported);

    // Dependencies that lead out of a capture.
    begin();
    EXPECT_LAST(cudaStreamWaitEvent(stream, event, 0), cudaErrorStreamCaptureIsolation);
    expect_invalidated();
    begin();
    CUDA(cudaStreamBeginCapture(other, cudaStreamCaptureModeGlobal));
    CUDA(cudaEventRecord(event, other));
    EXPECT_LAST(cudaStreamWaitEvent(stream, event, 0), cudaErrorStreamCaptureMerge);
    expect_invalidated();
    EXPECT_LAST(cudaStreamEndCapture(other, &graph), cudaErrorStreamCaptureInvalidated);

    // Where and by whom a capture is ended.
    begin();
    CUDA(cudaEventRecord(event, stream));
    CUDA(cudaStreamWaitEvent(other, event, 0));
    add<<<1, 32, 0, other>>>(device, N, 1);
    LAUNCHED();
    EXPECT_LAST(cudaStreamEndCapture(other, &graph), cudaErrorStreamCaptureUnmatched);
    expect_invalidated();
    begin();
    CUDA(cudaEventRecord(event, stream));
    CUDA(cudaStreamWaitEvent(other, event, 0));
    add<<<1, 32, 0, other>>>(device, N, 1);
    EXPECT_LAST(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureUnjoined);
    REQUIRE(graph == nullptr);
    REQUIRE_EQUAL(status_of(other), cudaStreamCaptureStatusNone);
    begin();
    std::thread([&] { EXPECT_LAST(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureWrongThread); }).join();
    CUDA(cudaStreamEndCapture(stream, &graph));
    CUDA(cudaGraphDestroy(graph));
    begin(cudaStreamCaptureModeRelaxed);
    std::thread([&] { CUDA(cudaStreamEndCapture(stream, &graph)); }).join();
    CUDA(cudaGraphDestroy(graph));
    EXPECT_LAST(cudaStreamEndCapture(stream, &graph), cudaErrorIllegalState);
    EXPECT_LAST(cudaStreamBeginCapture(stream, (cudaStreamCaptureMode)3), cudaErrorInvalidValue);

    // All streams are as before.
    CUDA(cudaDeviceSynchronize());
    add<<<1, 32>>>(device, N, 1);
    LAUNCHED();
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaStreamDestroy(blocking));
    CUDA(cudaEventDestroy(event));
}

static cudaGraph_t captured_again(int amount, bool longer) {
    cudaGraph_t graph;
    CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    CUDA(cudaMemsetAsync(device, 0, SIZE, stream));
    add<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, amount);
    if (longer) multiply<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, 2);
    LAUNCHED();
    CUDA(cudaStreamEndCapture(stream, &graph));
    return graph;
}

// What programs do that capture each step of theirs: the graph is captured again, and updated if it has kept its shape.
static void update() {
    cudaGraph_t graph = captured_again(1, false);
    cudaGraphExec_t exec;
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    CUDA(cudaGraphDestroy(graph));
    cudaGraphExecUpdateResultInfo result;
    for (int amount = 2; amount < 5; amount++) {
        graph = captured_again(amount, false);
        CUDA(cudaGraphExecUpdate(exec, graph, &result));
        REQUIRE_EQUAL(result.result, cudaGraphExecUpdateSuccess);
        CUDA(cudaGraphDestroy(graph));
        CUDA(cudaGraphLaunch(exec, stream));
        CUDA(cudaStreamSynchronize(stream));
        expect_all(device, amount, "an updated graph");
    }
    graph = captured_again(9, true);
    EXPECT_LAST(cudaGraphExecUpdate(exec, graph, &result), cudaErrorGraphExecUpdateFailure);
    REQUIRE_EQUAL(result.result, cudaGraphExecUpdateErrorTopologyChanged);
    CUDA(cudaGraphLaunch(exec, stream));
    CUDA(cudaStreamSynchronize(stream));
    expect_all(device, 4, "a graph that was not updated");
    CUDA(cudaGraphDestroy(graph));
    CUDA(cudaGraphExecDestroy(exec));
}

// Nodes that are added to a capture by hand, and captures that go on in a graph.
static void mixed() {
    cudaGraph_t graph, capturing;
    cudaGraphExec_t exec;
    cudaStreamCaptureStatus status;
    const cudaGraphNode_t *last;
    const cudaGraphEdgeData *data;
    size_t count;
    CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    CUDA(cudaMemsetAsync(device, 0, SIZE, stream));
    CUDA(cudaStreamGetCaptureInfo(stream, &status, nullptr, &capturing, &last, &data, &count));
    REQUIRE_EQUAL(count, 1);
    int n = N, amount = 6;
    void *arguments[] = {&device, &n, &amount};
    cudaKernelNodeParams kernel = {};
    kernel.func = (void *)add;
    kernel.gridDim = dim3(blocks_for(N, 128));
    kernel.blockDim = dim3(128);
    kernel.kernelParams = arguments;
    cudaGraphNode_t node;
    CUDA(cudaGraphAddKernelNode(&node, capturing, last, count, &kernel));
    CUDA(cudaStreamUpdateCaptureDependencies(stream, &node, nullptr, 1, cudaStreamSetCaptureDependencies));
    multiply<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, 7);
    CUDA(cudaStreamEndCapture(stream, &graph));
    size_t edges;
    CUDA(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges));
    REQUIRE_EQUAL(edges, 2);

    cudaGraphNode_t nodes[3];
    count = 3;
    CUDA(cudaGraphGetNodes(graph, nodes, &count));
    CUDA(cudaStreamBeginCaptureToGraph(stream, graph, &nodes[2], nullptr, 1, cudaStreamCaptureModeGlobal));
    add<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, 1);
    CUDA(cudaStreamEndCapture(stream, &capturing));
    REQUIRE(capturing == graph);

    // A graph that is launched in a capture is a node of it.
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    cudaGraph_t outer;
    CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    CUDA(cudaGraphLaunch(exec, stream));
    multiply<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, 10);
    CUDA(cudaStreamEndCapture(stream, &outer));
    CUDA(cudaGraphExecDestroy(exec));
    REQUIRE_EQUAL(nodes_of(outer), 2);
    CUDA(cudaGraphInstantiate(&exec, outer, 0));
    CUDA(cudaGraphLaunch(exec, stream));
    CUDA(cudaStreamSynchronize(stream));
    expect_all(device, (6 * 7 + 1) * 10, "a graph within a graph");
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphDestroy(outer));
    CUDA(cudaGraphDestroy(graph));
}

int main() {
    CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CUDA(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    CUDA(cudaMalloc(&device, SIZE));
    CUDA(cudaMalloc(&second, SIZE));
    CUDA(cudaMalloc(&third, SIZE));
    one_stream();
    copies(false);
    copies(true);
    fork_and_join();
    external_events();
    forbidden();
    update();
    mixed();
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaStreamDestroy(other));
    CUDA(cudaFree(device));
    CUDA(cudaFree(second));
    CUDA(cudaFree(third));
    return pass();
}
