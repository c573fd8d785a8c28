// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Graphs that are put together node by node: their order, parameters that are looked at and changed in the graph and in what
// was made of it, graphs within graphs, clones, and handles and shapes that are wrong.

#include <vector>

#include "check_cuda.h"

const int N = 1000, SIZE = N * sizeof(int);

// values[i] = values[i] * factor + i % modulus
__global__ void step(int *values, int n, int factor, int modulus) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) values[i] = values[i] * factor + i % modulus;
}

__global__ void note(int *order, int *count, int who) { order[(*count)++] = who; }

__device__ int variable[N];

static cudaStream_t stream;
static int *device;

static void run(cudaGraphExec_t exec) {
    CUDA(cudaGraphLaunch(exec, stream));
    CUDA(cudaStreamSynchronize(stream));
}

static cudaGraphExec_t instantiated(cudaGraph_t graph) {
    cudaGraphExec_t exec;
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    return exec;
}

static cudaKernelNodeParams kernel(void *function, unsigned blocks, unsigned threads, void **arguments) {
    cudaKernelNodeParams params = {};
    params.func = function;
    params.gridDim = dim3(blocks);
    params.blockDim = dim3(threads);
    params.kernelParams = arguments;
    return params;
}

// Nodes are done in an order that keeps to the edges, whatever the order they were added in.
static void order() {
    const int NODES = 20;
    int *list, *count, host[NODES];
    CUDA(cudaMalloc(&list, sizeof host));
    CUDA(cudaMalloc(&count, sizeof(int)));
    cudaGraph_t graph;
    cudaGraphNode_t nodes[NODES], clear;
    CUDA(cudaGraphCreate(&graph, 0));
    for (int i = 0; i < NODES; i++) {
        void *arguments[] = {&list, &count, &i};
        cudaKernelNodeParams params = kernel((void *)note, 1, 1, arguments);
        CUDA(cudaGraphAddKernelNode(&nodes[i], graph, nullptr, 0, &params));
    }
    cudaMemsetParams zero = {};
    zero.dst = count;
    zero.elementSize = 4;
    zero.width = 1;
    zero.height = 1;
    CUDA(cudaGraphAddMemsetNode(&clear, graph, nullptr, 0, &zero));
    // From the last to the first, in a comb: each even node before the even one below it and before the odd one below it.
    std::vector<cudaGraphNode_t> from, to;
    for (int i = NODES - 2; i >= 2; i -= 2) {
        from.insert(from.end(), {nodes[i], nodes[i]});
        to.insert(to.end(), {nodes[i - 2], nodes[i - 1]});
    }
    from.insert(from.end(), {clear, clear});
    to.insert(to.end(), {nodes[NODES - 2], nodes[NODES - 1]});
    CUDA(cudaGraphAddDependencies(graph, from.data(), to.data(), nullptr, from.size()));

    size_t size;
    CUDA(cudaGraphGetRootNodes(graph, nullptr, &size));
    REQUIRE_EQUAL(size, 1);
    CUDA(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &size));
    REQUIRE_EQUAL(size, from.size());
    cudaGraphNode_t near[3] = {};
    size = 3;
    CUDA(cudaGraphNodeGetDependencies(nodes[4], near, nullptr, &size));
    REQUIRE_EQUAL(size, 1);
    REQUIRE(near[0] == nodes[6] && near[1] == nullptr);
    size = 3;
    CUDA(cudaGraphNodeGetDependentNodes(nodes[4], near, nullptr, &size));
    REQUIRE_EQUAL(size, 2);

    cudaGraphExec_t exec = instantiated(graph);
    for (int launch = 0; launch < 2; launch++) {
        run(exec);
        CUDA(cudaMemcpy(host, list, sizeof host, cudaMemcpyDeviceToHost));
        int place[NODES];
        for (int &p : place) p = -1;
        for (int i = 0; i < NODES; i++) place[host[i]] = i;
        for (int p : place) REQUIRE(p >= 0); // each once
        for (int i = NODES - 2; i >= 2; i -= 2) REQUIRE(place[i] < place[i - 2] && place[i] < place[i - 1]);
    }
    CUDA(cudaGraphExecDestroy(exec));

    // An edge is there once; cycles are found when the graph is instantiated.
    EXPECT_LAST(cudaGraphAddDependencies(graph, &nodes[6], &nodes[4], nullptr, 1), cudaErrorInvalidValue);
    CUDA(cudaGraphAddDependencies(graph, &nodes[0], &nodes[18], nullptr, 1));
    cudaGraphInstantiateParams params = {};
    EXPECT_LAST(cudaGraphInstantiateWithParams(&exec, graph, &params), cudaErrorInvalidValue);
    REQUIRE_EQUAL(params.result_out, cudaGraphInstantiateInvalidStructure);
    CUDA(cudaGraphRemoveDependencies(graph, &nodes[0], &nodes[18], nullptr, 1));
    EXPECT_LAST(cudaGraphRemoveDependencies(graph, &nodes[0], &nodes[18], nullptr, 1), cudaErrorInvalidValue);
    CUDA(cudaGraphInstantiateWithParams(&exec, graph, &params));
    REQUIRE_EQUAL(params.result_out, cudaGraphInstantiateSuccess);
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphDestroyNode(nodes[10]));
    CUDA(cudaGraphGetNodes(graph, nullptr, &size));
    REQUIRE_EQUAL(size, NODES);
    CUDA(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &size));
    REQUIRE_EQUAL(size, from.size() - 3);
    CUDA(cudaGraphDestroy(graph));
    CUDA(cudaFree(list));
    CUDA(cudaFree(count));
}

struct Graph {
    cudaGraph_t graph;
    cudaGraphNode_t in, fill, kernel, call, out;
};

static int host_in[N], host_out[N], calls;
static void called(void *by) { calls += *(int *)by; }

// in -> kernel -> out -> call, with a fill of the start of what was copied in between.
static Graph made(int factor) {
    static int one = 1;
    Graph g;
    int n = N, modulus = 10;
    void *arguments[] = {&device, &n, &factor, &modulus};
    cudaKernelNodeParams params = kernel((void *)step, blocks_for(N, 128), 128, arguments);
    CUDA(cudaGraphCreate(&g.graph, 0));
    CUDA(cudaGraphAddMemcpyNode1D(&g.in, g.graph, nullptr, 0, device, host_in, SIZE, cudaMemcpyHostToDevice));
    cudaMemsetParams fill = {};
    fill.dst = device;
    fill.value = 0x12345;
    fill.elementSize = 2;
    fill.width = 2; // the first int
    fill.height = 1;
    CUDA(cudaGraphAddMemsetNode(&g.fill, g.graph, &g.in, 1, &fill));
    CUDA(cudaGraphAddKernelNode(&g.kernel, g.graph, &g.fill, 1, &params));
    cudaMemcpy3DParms copy = {};
    copy.srcPtr = make_cudaPitchedPtr(device, SIZE, SIZE, 1);
    copy.dstPtr = make_cudaPitchedPtr(host_out, SIZE, SIZE, 1);
    copy.extent = make_cudaExtent(SIZE, 1, 1);
    copy.kind = cudaMemcpyDeviceToHost;
    CUDA(cudaGraphAddMemcpyNode(&g.out, g.graph, &g.kernel, 1, &copy));
    cudaHostNodeParams host = {called, &one};
    CUDA(cudaGraphAddHostNode(&g.call, g.graph, &g.out, 1, &host));
    return g;
}

static void expect_out(int factor, int modulus, const int *in, int first) {
    for (int i = 0; i < N; i++) {
        int before = i ? in[i] : first;
        REQUIRE_ELEMENT(host_out[i], (int)((unsigned)before * factor + i % modulus), i);
    }
}

static void parameters() {
    const int FIRST = 0x23452345;
    for (int i = 0; i < N; i++) host_in[i] = i + 1;
    calls = 0;
    Graph g = made(3);
    cudaGraphExec_t exec = instantiated(g.graph);
    run(exec);
    expect_out(3, 10, host_in, FIRST);
    REQUIRE_EQUAL(calls, 1);
    for (int i = 0; i < N; i++) host_in[i] = 5 * i; // read by each launch
    run(exec);
    expect_out(3, 10, host_in, FIRST);

    cudaGraphNodeType type;
    const cudaGraphNode_t nodes[] = {g.in, g.fill, g.kernel, g.call, g.out};
    const cudaGraphNodeType types[] = {cudaGraphNodeTypeMemcpy, cudaGraphNodeTypeMemset, cudaGraphNodeTypeKernel,
                                       cudaGraphNodeTypeHost, cudaGraphNodeTypeMemcpy};
    for (int i = 0; i < 5; i++) {
        CUDA(cudaGraphNodeGetType(nodes[i], &type));
        REQUIRE_EQUAL(type, types[i]);
    }

    // What the nodes were made with.
    cudaKernelNodeParams params;
    CUDA(cudaGraphKernelNodeGetParams(g.kernel, &params));
    REQUIRE(params.func == (void *)step);
    REQUIRE_EQUAL(params.gridDim.x, blocks_for(N, 128));
    REQUIRE_EQUAL(params.blockDim.x, 128);
    REQUIRE(params.extra == nullptr);
    REQUIRE_EQUAL(*(int *)params.kernelParams[2], 3);
    cudaMemsetParams fill;
    CUDA(cudaGraphMemsetNodeGetParams(g.fill, &fill));
    REQUIRE(fill.dst == device && fill.elementSize == 2 && fill.width == 2 && fill.height == 1);
    cudaMemcpy3DParms copy;
    CUDA(cudaGraphMemcpyNodeGetParams(g.out, &copy));
    REQUIRE(copy.srcPtr.ptr == device && copy.dstPtr.ptr == host_out && copy.extent.width == SIZE);
    REQUIRE_EQUAL(copy.kind, cudaMemcpyDeviceToHost);
    cudaHostNodeParams host;
    CUDA(cudaGraphHostNodeGetParams(g.call, &host));
    REQUIRE(host.fn == called && *(int *)host.userData == 1);

    // Changed in the graph, they are those of what is instantiated later.
    int factor = 11, seven = 7;
    params.kernelParams[2] = &factor;
    CUDA(cudaGraphKernelNodeSetParams(g.kernel, &params));
    fill.value = 4;
    fill.elementSize = 4;
    fill.width = 1;
    CUDA(cudaGraphMemsetNodeSetParams(g.fill, &fill));
    host.userData = &seven;
    CUDA(cudaGraphHostNodeSetParams(g.call, &host));
    static int other_in[N];
    for (int i = 0; i < N; i++) other_in[i] = 1000 - i;
    CUDA(cudaGraphMemcpyNodeSetParams1D(g.in, device, other_in, SIZE, cudaMemcpyHostToDevice));
    calls = 0;
    run(exec);
    expect_out(3, 10, host_in, FIRST);
    REQUIRE_EQUAL(calls, 1);
    cudaGraphExec_t later = instantiated(g.graph);
    run(later);
    expect_out(11, 10, other_in, 4);
    REQUIRE_EQUAL(calls, 8);

    // What was instantiated takes them over, all at once or one by one.
    cudaGraphExecUpdateResultInfo result;
    CUDA(cudaGraphExecUpdate(exec, g.graph, &result));
    run(exec);
    expect_out(11, 10, other_in, 4);
    int modulus = 3;
    CUDA(cudaGraphKernelNodeGetParams(g.kernel, &params));
    params.kernelParams[3] = &modulus;
    CUDA(cudaGraphExecKernelNodeSetParams(exec, g.kernel, &params));
    fill.value = 9;
    CUDA(cudaGraphExecMemsetNodeSetParams(exec, g.fill, &fill));
    CUDA(cudaGraphExecMemcpyNodeSetParams1D(exec, g.in, device, host_in, SIZE, cudaMemcpyHostToDevice));
    host.userData = &factor;
    CUDA(cudaGraphExecHostNodeSetParams(exec, g.call, &host));
    calls = 0;
    run(exec);
    expect_out(11, 3, host_in, 9);
    REQUIRE_EQUAL(calls, 11);
    run(later);
    expect_out(11, 10, other_in, 4);

    // A node can be left out.
    unsigned enabled;
    CUDA(cudaGraphNodeSetEnabled(exec, g.kernel, 0));
    CUDA(cudaGraphNodeGetEnabled(exec, g.kernel, &enabled));
    REQUIRE_EQUAL(enabled, 0);
    run(exec);
    for (int i = 0; i < N; i++) REQUIRE_ELEMENT(host_out[i], i ? host_in[i] : 9, i);
    CUDA(cudaGraphNodeSetEnabled(exec, g.kernel, 1));
    run(exec);
    expect_out(11, 3, host_in, 9);
    EXPECT_LAST(cudaGraphNodeSetEnabled(exec, g.call, 0), cudaErrorInvalidValue);

    // A kernel is a kernel.
    EXPECT_LAST(cudaGraphKernelNodeGetParams(g.fill, &params), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphMemsetNodeSetParams(g.kernel, &fill), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphExecHostNodeSetParams(exec, g.kernel, &host), cudaErrorInvalidValue);
    CUDA(cudaGraphUpload(exec, stream));
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphExecDestroy(later));
    CUDA(cudaGraphDestroy(g.graph));
}

// The one function for all kinds of nodes, and copies of variables.
static void any_node() {
    cudaGraph_t graph;
    cudaGraphNode_t nodes[5];
    CUDA(cudaGraphCreate(&graph, 0));
    cudaGraphNodeParams params = {};
    params.type = cudaGraphNodeTypeMemset;
    params.memset.dst = device;
    params.memset.value = 2;
    params.memset.elementSize = 4;
    params.memset.width = N;
    params.memset.height = 1;
    CUDA(cudaGraphAddNode(&nodes[0], graph, nullptr, nullptr, 0, &params));
    int n = N, factor = 4, modulus = 1;
    void *arguments[] = {&device, &n, &factor, &modulus};
    params = {};
    params.type = cudaGraphNodeTypeKernel;
    params.kernel.func = (void *)step;
    params.kernel.gridDim = dim3(blocks_for(N, 128));
    params.kernel.blockDim = dim3(128);
    params.kernel.kernelParams = arguments;
    CUDA(cudaGraphAddNode(&nodes[1], graph, &nodes[0], nullptr, 1, &params));
    CUDA(cudaGraphAddMemcpyNodeToSymbol(&nodes[2], graph, &nodes[1], 1, variable, device, SIZE - 4, 4, cudaMemcpyDeviceToDevice));
    CUDA(cudaGraphAddEmptyNode(&nodes[3], graph, &nodes[2], 1));
    CUDA(cudaGraphAddMemcpyNodeFromSymbol(&nodes[4], graph, &nodes[3], 1, host_out, variable, SIZE, 0, cudaMemcpyDeviceToHost));
    cudaGraphExec_t exec = instantiated(graph);
    run(exec);
    for (int i = 0; i < N; i++) REQUIRE_ELEMENT(host_out[i], i ? 8 : 0, i);
    factor = 5;
    CUDA(cudaGraphExecNodeSetParams(exec, nodes[1], &params));
    run(exec);
    for (int i = 0; i < N; i++) REQUIRE_ELEMENT(host_out[i], i ? 10 : 0, i);
    params = {};
    params.type = cudaGraphNodeTypeMemset;
    EXPECT_LAST(cudaGraphExecNodeSetParams(exec, nodes[1], &params), cudaErrorInvalidValue);
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphDestroy(graph));
}

// A graph within a graph is a copy that belongs to its node; a clone is a graph of its own.
static void within_and_cloned() {
    for (int i = 0; i < N; i++) host_in[i] = i;
    Graph g = made(2);
    cudaGraph_t outer, held, clone;
    cudaGraphNode_t child, again, found;
    CUDA(cudaGraphCreate(&outer, 0));
    CUDA(cudaGraphAddChildGraphNode(&child, outer, nullptr, 0, g.graph));
    CUDA(cudaGraphAddChildGraphNode(&again, outer, &child, 1, g.graph));
    CUDA(cudaGraphChildGraphNodeGetGraph(child, &held));
    REQUIRE(held != g.graph);
    size_t count;
    CUDA(cudaGraphGetNodes(held, nullptr, &count));
    REQUIRE_EQUAL(count, 5);
    EXPECT_LAST(cudaGraphDestroy(held), cudaErrorInvalidValue);
    CUDA(cudaGraphClone(&clone, g.graph));
    CUDA(cudaGraphNodeFindInClone(&found, g.fill, clone));
    cudaMemsetParams fill;
    CUDA(cudaGraphMemsetNodeGetParams(found, &fill));
    fill.value = 0x777;
    CUDA(cudaGraphMemsetNodeSetParams(found, &fill));
    CUDA(cudaGraphDestroy(g.graph));

    calls = 0;
    cudaGraphExec_t exec = instantiated(outer);
    run(exec);
    REQUIRE_EQUAL(calls, 2);
    expect_out(2, 10, host_in, 0x23452345);
    g = made(6);
    CUDA(cudaGraphExecChildGraphNodeSetParams(exec, again, g.graph));
    run(exec);
    expect_out(6, 10, host_in, 0x23452345);
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphDestroy(outer));
    EXPECT_LAST(cudaGraphGetNodes(held, nullptr, &count), cudaErrorInvalidValue);

    exec = instantiated(clone);
    CUDA(cudaGraphDestroy(clone));
    run(exec);
    expect_out(2, 10, host_in, 0x07770777);
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphDestroy(g.graph));
}

static void mistakes() {
    cudaGraph_t graph;
    cudaGraphNode_t node, nodes[2];
    cudaGraphExec_t exec;
    size_t count;
    EXPECT_LAST(cudaGraphCreate(nullptr, 0), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphCreate(&graph, 1), cudaErrorInvalidValue);
    CUDA(cudaGraphCreate(&graph, 0));
    CUDA(cudaGraphAddEmptyNode(&node, graph, nullptr, 0));
    nodes[0] = nodes[1] = node;
    EXPECT_LAST(cudaGraphAddEmptyNode(&node, graph, nodes, 2), cudaErrorInvalidValue); // twice the same
    EXPECT_LAST(cudaGraphAddEmptyNode(&node, graph, nullptr, 1), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphAddEmptyNode(nullptr, graph, nullptr, 0), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGraphInstantiate(&exec, graph, 1 << 20), cudaErrorInvalidValue);
    int n = N, factor = 4, modulus = 1;
    void *arguments[] = {&device, &n, &factor, &modulus};
    cudaKernelNodeParams params = kernel((void *)step, 1, 4096, arguments);
    EXPECT_LAST(cudaGraphAddKernelNode(&node, graph, nullptr, 0, &params), cudaErrorInvalidValue);
    params = kernel((void *)step, 1, 32, nullptr);
    EXPECT_LAST(cudaGraphAddKernelNode(&node, graph, nullptr, 0, &params), cudaErrorInvalidValue);
    cudaHostNodeParams host = {};
    EXPECT_LAST(cudaGraphAddHostNode(&node, graph, nullptr, 0, &host), cudaErrorInvalidValue);
    CUDA(cudaGraphGetNodes(graph, nullptr, &count));
    REQUIRE_EQUAL(count, 1);

    // An empty graph can be launched.
    CUDA(cudaGraphDestroyNode(nodes[0]));
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    run(exec);
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphDestroy(graph));
}

int main() {
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaMalloc(&device, SIZE));
    order();
    parameters();
    any_node();
    within_and_cloned();
    mistakes();
    CUDA(cudaFree(device));
    CUDA(cudaStreamDestroy(stream));
    return pass();
}
