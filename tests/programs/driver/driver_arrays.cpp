// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Arrays, texture objects and surface objects of the Driver API, and every way to copy from and to arrays.

#include "check_driver.h"
#include <string.h>
#include <vector>

static const char *SOURCE = R"(
.version 8.0
.target sm_80
.address_size 64
.visible .entry shift(.param .u64 texture, .param .u64 surface, .param .u32 width)
{
    .reg .b32 %r<9>;
    .reg .b64 %rd<4>;
    .reg .f32 %f<9>;
    ld.param.u64 %rd1, [texture];
    ld.param.u64 %rd2, [surface];
    ld.param.u32 %r1, [width];
    mov.u32 %r2, %tid.x;
    mov.u32 %r3, %ctaid.x;
    add.u32 %r4, %r2, 1;
    cvt.rn.f32.u32 %f1, %r4;
    add.f32 %f1, %f1, 0f3F000000;
    cvt.rn.f32.u32 %f2, %r3;
    add.f32 %f2, %f2, 0f3F000000;
    tex.2d.v4.u32.f32 {%r5, %r6, %r7, %r8}, [%rd1, {%f1, %f2}];
    shl.b32 %r2, %r2, 2;
    sust.b.2d.b32.trap [%rd2, {%r2, %r3}], {%r5};
    ret;
}
)";

int main() {
    const unsigned w = 20, h = 6;
    CUdevice device;
    CUcontext context;
    CUmodule module;
    CUfunction shift;
    CU(cuInit(0));
    CU(cuDeviceGet(&device, 0));
    CU(cuCtxCreate(&context, nullptr, 0, device));
    CU(cuModuleLoadData(&module, SOURCE));
    CU(cuModuleGetFunction(&shift, module, "shift"));

    CUDA_ARRAY_DESCRIPTOR plane = {w, h, CU_AD_FORMAT_UNSIGNED_INT32, 1};
    CUDA_ARRAY3D_DESCRIPTOR written = {w, h, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1, CUDA_ARRAY3D_SURFACE_LDST};
    CUarray from, to;
    CU(cuArrayCreate(&from, &plane));
    CU(cuArray3DCreate(&to, &written));
    CUDA_ARRAY3D_DESCRIPTOR found;
    CU(cuArray3DGetDescriptor(&found, to));
    REQUIRE(found.Width == w && found.Height == h && found.Depth == 0 && found.Format == CU_AD_FORMAT_UNSIGNED_INT32 && found.NumChannels == 1);
    CUDA_ARRAY_DESCRIPTOR wrong = {w, h, CU_AD_FORMAT_UNSIGNED_INT32, 3};
    CUarray none;
    EXPECT(cuArrayCreate(&none, &wrong), CUDA_ERROR_INVALID_VALUE);

    std::vector<unsigned> values(w * h), back(w * h);
    for (unsigned i = 0; i < w * h; i++) values[i] = i * 7;
    CUDA_MEMCPY2D copy = {};
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = values.data();
    copy.srcPitch = w * 4;
    copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.dstArray = from;
    copy.WidthInBytes = w * 4;
    copy.Height = h;
    CU(cuMemcpy2D(&copy));

    CUDA_RESOURCE_DESC resource = {};
    resource.resType = CU_RESOURCE_TYPE_ARRAY;
    resource.res.array.hArray = from;
    CUDA_TEXTURE_DESC reading = {};
    for (auto &mode : reading.addressMode) mode = CU_TR_ADDRESS_MODE_BORDER;
    reading.filterMode = CU_TR_FILTER_MODE_POINT;
    reading.flags = CU_TRSF_READ_AS_INTEGER;
    CUtexObject texture;
    CU(cuTexObjectCreate(&texture, &resource, &reading, nullptr));
    CUsurfObject surface;
    resource.res.array.hArray = to;
    CU(cuSurfObjectCreate(&surface, &resource));
    CUDA_RESOURCE_DESC made_of = {};
    CUDA_TEXTURE_DESC read_as = {};
    CU(cuTexObjectGetResourceDesc(&made_of, texture));
    REQUIRE(made_of.resType == CU_RESOURCE_TYPE_ARRAY && made_of.res.array.hArray == from && made_of.flags == 0);
    CU(cuTexObjectGetTextureDesc(&read_as, texture));
    REQUIRE(memcmp(&read_as, &reading, sizeof reading) == 0);
    CU(cuSurfObjectGetResourceDesc(&made_of, surface));
    REQUIRE(made_of.resType == CU_RESOURCE_TYPE_ARRAY && made_of.res.array.hArray == to);
    unsigned width = w;
    void *parameters[] = {&texture, &surface, &width};
    CU(cuLaunchKernel(shift, h, 1, 1, w, 1, 1, 0, nullptr, parameters, nullptr));

    CUDA_MEMCPY3D out = {};
    out.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    out.srcArray = to;
    out.dstMemoryType = CU_MEMORYTYPE_HOST;
    out.dstHost = back.data();
    out.dstPitch = w * 4;
    out.dstHeight = h;
    out.WidthInBytes = w * 4;
    out.Height = h;
    out.Depth = 1;
    CU(cuMemcpy3D(&out));
    for (unsigned i = 0; i < w * h; i++) REQUIRE_ELEMENT(back[i], i % w == w - 1 ? 0 : values[i + 1], i);

    // Lines: to and from the host, the device and other arrays.
    CUDA_ARRAY_DESCRIPTOR line = {64, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1};
    CUarray first, second;
    CUdeviceptr memory;
    CU(cuArrayCreate(&first, &line));
    CU(cuArrayCreate(&second, &line));
    CU(cuMemAlloc(&memory, 256));
    CU(cuMemcpyHtoA(first, 16, values.data(), 100));
    CU(cuMemcpyAtoA(second, 0, first, 16, 100));
    CU(cuMemcpyAtoD(memory, second, 4, 96));
    CU(cuMemcpyDtoA(first, 0, memory, 96));
    CU(cuMemcpyAtoH(back.data(), first, 0, 96));
    for (unsigned i = 0; i < 24; i++) REQUIRE_ELEMENT(back[i], values[i + 1], i);
    EXPECT(cuMemcpyHtoA(first, 200, values.data(), 100), CUDA_ERROR_INVALID_VALUE);

    CU(cuTexObjectDestroy(texture));
    CU(cuSurfObjectDestroy(surface));
    for (CUarray array : {from, to, first, second}) CU(cuArrayDestroy(array));
    CU(cuMemFree(memory));
    CU(cuModuleUnload(module));
    CU(cuCtxDestroy(context));
    return pass();
}
