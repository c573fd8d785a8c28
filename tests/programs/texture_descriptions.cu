// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: --extended-lambda -gencode arch=compute_80,code=compute_80
//
// What texture and surface objects were made of, and views: other formats, levels and layers of the same texels.

#include "check_cuda.h"
#include <math.h>
#include <string.h>
#include <vector>

template <class F> __global__ void each(float *out, int n, F f) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = f(i);
}

// What f gives for 0 to n - 1 on the device.
template <class F> std::vector<float> on_device(int n, F f) {
    std::vector<float> out(n);
    float *device;
    CUDA(cudaMalloc(&device, n * sizeof(float)));
    each<<<(n + 63) / 64, 64>>>(device, n, f);
    LAUNCHED();
    CUDA(cudaMemcpy(out.data(), device, n * sizeof(float), cudaMemcpyDeviceToHost));
    CUDA(cudaFree(device));
    return out;
}

static cudaResourceDesc of(cudaArray_t array) {
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = array;
    return resource;
}

static cudaResourceDesc of(cudaMipmappedArray_t array) {
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeMipmappedArray;
    resource.res.mipmap.mipmap = array;
    return resource;
}

static void objects_tell_what_they_were_made_of() {
    const int w = 16, h = 4;
    cudaChannelFormatDesc format = cudaCreateChannelDesc<uchar4>();
    cudaArray_t array;
    CUDA(cudaMallocArray(&array, &format, w, h, cudaArraySurfaceLoadStore));
    cudaResourceDesc resource = of(array), found;
    cudaTextureDesc desc = {}, read;
    desc.addressMode[0] = cudaAddressModeWrap;
    desc.addressMode[1] = cudaAddressModeMirror;
    desc.addressMode[2] = cudaAddressModeBorder;
    desc.filterMode = cudaFilterModeLinear;
    desc.readMode = cudaReadModeNormalizedFloat;
    desc.sRGB = 1;
    for (int i = 0; i < 4; i++) desc.borderColor[i] = 0.25f * i;
    desc.normalizedCoords = 1;
    desc.maxAnisotropy = 2;
    desc.mipmapFilterMode = cudaFilterModeLinear;
    desc.mipmapLevelBias = 0.5f;
    desc.minMipmapLevelClamp = 0.25f;
    desc.maxMipmapLevelClamp = 3;
    desc.disableTrilinearOptimization = 1;
    cudaTextureObject_t texture;
    CUDA(cudaCreateTextureObject(&texture, &resource, &desc, nullptr));
    memset(&found, 0xff, sizeof found);
    CUDA(cudaGetTextureObjectResourceDesc(&found, texture));
    REQUIRE(found.resType == cudaResourceTypeArray && found.res.array.array == array && found.flags == 0);
    memset(&read, 0xff, sizeof read);
    CUDA(cudaGetTextureObjectTextureDesc(&read, texture));
    // NVIDIA's library leaves the border out.
    memcpy(read.borderColor, desc.borderColor, sizeof read.borderColor);
    REQUIRE(memcmp(&read, &desc, sizeof desc) == 0);
    // Without a view there is none to tell of.
    cudaResourceViewDesc view = {};
    CUDA(cudaGetTextureObjectResourceViewDesc(&view, texture));
    REQUIRE(view.format == cudaResViewFormatNone);

    cudaSurfaceObject_t surface;
    CUDA(cudaCreateSurfaceObject(&surface, &resource));
    memset(&found, 0xff, sizeof found);
    CUDA(cudaGetSurfaceObjectResourceDesc(&found, surface));
    REQUIRE(found.resType == cudaResourceTypeArray && found.res.array.array == array);
    CUDA(cudaDestroySurfaceObject(surface));
    CUDA(cudaDestroyTextureObject(texture));
    CUDA(cudaFreeArray(array));

    float2 *memory;
    size_t pitch;
    CUDA(cudaMallocPitch(&memory, &pitch, 100 * sizeof(float2), 10));
    resource = {};
    resource.resType = cudaResourceTypePitch2D;
    resource.res.pitch2D.devPtr = memory;
    resource.res.pitch2D.desc = cudaCreateChannelDesc<float2>();
    resource.res.pitch2D.width = 100;
    resource.res.pitch2D.height = 10;
    resource.res.pitch2D.pitchInBytes = pitch;
    desc = {};
    CUDA(cudaCreateTextureObject(&texture, &resource, &desc, nullptr));
    CUDA(cudaGetTextureObjectResourceDesc(&found, texture));
    const auto &plane = found.res.pitch2D;
    REQUIRE(found.resType == cudaResourceTypePitch2D && plane.devPtr == memory && plane.width == 100 && plane.height == 10);
    REQUIRE(plane.pitchInBytes == pitch && plane.desc.x == 32 && plane.desc.y == 32 && plane.desc.z == 0 && plane.desc.w == 0);
    REQUIRE(plane.desc.f == cudaChannelFormatKindFloat);
    CUDA(cudaDestroyTextureObject(texture));

    resource = {};
    resource.resType = cudaResourceTypeLinear;
    resource.res.linear.devPtr = memory;
    resource.res.linear.desc = cudaCreateChannelDesc<short>();
    resource.res.linear.sizeInBytes = 64;
    CUDA(cudaCreateTextureObject(&texture, &resource, &desc, nullptr));
    CUDA(cudaGetTextureObjectResourceDesc(&found, texture));
    REQUIRE(found.resType == cudaResourceTypeLinear && found.res.linear.devPtr == memory && found.res.linear.sizeInBytes == 64);
    REQUIRE(found.res.linear.desc.x == 16 && found.res.linear.desc.f == cudaChannelFormatKindSigned);
    CUDA(cudaDestroyTextureObject(texture));
    CUDA(cudaFree(memory));
}

static void views_have_other_formats() {
    const int n = 32;
    std::vector<float> texels(n);
    for (int i = 0; i < n; i++) texels[i] = 1.5f * i - 7;
    cudaChannelFormatDesc format = cudaCreateChannelDesc<unsigned>();
    cudaArray_t array;
    CUDA(cudaMallocArray(&array, &format, n, 0));
    CUDA(cudaMemcpy2DToArray(array, 0, 0, texels.data(), n * 4, n * 4, 1, cudaMemcpyHostToDevice));
    cudaResourceDesc resource = of(array);
    cudaTextureDesc desc = {};
    cudaResourceViewDesc view = {}, found;
    view.format = cudaResViewFormatFloat1;
    view.width = n;
    cudaTextureObject_t numbers, bytes, none;
    CUDA(cudaCreateTextureObject(&numbers, &resource, &desc, &view));
    auto r = on_device(n, [=] __device__(int i) { return tex1D<float>(numbers, i + 0.5f); });
    for (int i = 0; i < n; i++) REQUIRE_ELEMENT(r[i], texels[i], i);
    memset(&found, 0xff, sizeof found);
    CUDA(cudaGetTextureObjectResourceViewDesc(&found, numbers));
    REQUIRE(found.format == cudaResViewFormatFloat1 && found.width == n && found.height == 0 && found.depth == 0);
    REQUIRE(found.firstMipmapLevel == 0 && found.lastMipmapLevel == 0 && found.firstLayer == 0 && found.lastLayer == 0);

    view.format = cudaResViewFormatUnsignedChar4;
    CUDA(cudaCreateTextureObject(&bytes, &resource, &desc, &view));
    r = on_device(n, [=] __device__(int i) { return (float)tex1D<uchar4>(bytes, i + 0.5f).w; });
    for (int i = 0; i < n; i++) {
        unsigned bits;
        memcpy(&bits, &texels[i], 4);
        REQUIRE_ELEMENT(r[i], bits >> 24, i);
    }
    // What a texture may be read as depends on the array's format.
    desc.readMode = cudaReadModeNormalizedFloat;
    EXPECT_LAST(cudaCreateTextureObject(&none, &resource, &desc, &view), cudaErrorInvalidNormSetting);
    desc.readMode = cudaReadModeElementType;
    CUDA(cudaDestroyTextureObject(bytes));
    CUDA(cudaDestroyTextureObject(numbers));

    view.format = cudaResViewFormatFloat2;
    EXPECT_LAST(cudaCreateTextureObject(&none, &resource, &desc, &view), cudaErrorInvalidValue);
    view.format = cudaResViewFormatNone;
    EXPECT_LAST(cudaCreateTextureObject(&none, &resource, &desc, &view), cudaErrorInvalidValue);
    view.format = cudaResViewFormatUnsignedChar4;
    view.lastMipmapLevel = 1;
    EXPECT_LAST(cudaCreateTextureObject(&none, &resource, &desc, &view), cudaErrorInvalidValue);
    CUDA(cudaFreeArray(array));
}

static void views_have_some_of_the_layers() {
    const int w = 8, layers = 5;
    std::vector<float> texels(w * layers);
    for (int i = 0; i < w * layers; i++) texels[i] = (float)i;
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaArray_t array;
    CUDA(cudaMalloc3DArray(&array, &format, make_cudaExtent(w, 0, layers), cudaArrayLayered));
    cudaMemcpy3DParms copy = {};
    copy.srcPtr = make_cudaPitchedPtr(texels.data(), w * 4, w, 1);
    copy.dstArray = array;
    copy.extent = make_cudaExtent(w, 1, layers);
    copy.kind = cudaMemcpyHostToDevice;
    CUDA(cudaMemcpy3D(&copy));
    cudaResourceDesc resource = of(array);
    cudaTextureDesc desc = {};
    desc.addressMode[0] = cudaAddressModeClamp;
    cudaResourceViewDesc view = {};
    view.width = w;
    view.depth = layers;
    view.format = cudaResViewFormatFloat1;
    view.firstLayer = 2;
    view.lastLayer = 3;
    cudaTextureObject_t object;
    CUDA(cudaCreateTextureObject(&object, &resource, &desc, &view));
    // Beyond the last layer of the view is the last one.
    auto r = on_device(3 * w, [=] __device__(int i) { return tex1DLayered<float>(object, i % 8 + 0.5f, i / 8); });
    for (int i = 0; i < 3 * w; i++) REQUIRE_ELEMENT(r[i], texels[(i < w ? 2 : 3) * w + i % w], i);
    CUDA(cudaDestroyTextureObject(object));
    CUDA(cudaFreeArray(array));
}

static void views_have_some_of_the_cubes() {
    const int n = 4, cubes = 3;
    std::vector<float> texels(n * n * 6 * cubes);
    for (int i = 0; i < n * n * 6 * cubes; i++) texels[i] = 10.0f * (i / (n * n * 6)) + i / (n * n) % 6;
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaArray_t array;
    CUDA(cudaMalloc3DArray(&array, &format, make_cudaExtent(n, n, 6 * cubes), cudaArrayLayered | cudaArrayCubemap));
    cudaMemcpy3DParms copy = {};
    copy.srcPtr = make_cudaPitchedPtr(texels.data(), n * 4, n, n);
    copy.dstArray = array;
    copy.extent = make_cudaExtent(n, n, 6 * cubes);
    copy.kind = cudaMemcpyHostToDevice;
    CUDA(cudaMemcpy3D(&copy));
    cudaResourceDesc resource = of(array);
    cudaTextureDesc desc = {};
    desc.normalizedCoords = 1;
    cudaResourceViewDesc view = {};
    view.format = cudaResViewFormatFloat1;
    view.width = view.height = n;
    view.depth = 6 * cubes;
    // Two cubes from the second on: layers are counted in faces first, then in cubes.
    view.firstLayer = 6;
    view.lastLayer = 7;
    cudaTextureObject_t object;
    CUDA(cudaCreateTextureObject(&object, &resource, &desc, &view));
    auto r = on_device(4, [=] __device__(int i) { return texCubemapLayered<float>(object, i % 2 ? -1 : 1, 0, 0, i / 2); });
    for (int i = 0; i < 4; i++) REQUIRE_ELEMENT(r[i], 10 * (1 + i / 2) + i % 2, i);
    CUDA(cudaDestroyTextureObject(object));
    CUDA(cudaFreeArray(array));
}

static void views_have_some_of_the_levels() {
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaMipmappedArray_t mipmap;
    CUDA(cudaMallocMipmappedArray(&mipmap, &format, make_cudaExtent(16, 16, 0), 4));
    for (int level = 0; level < 4; level++) {
        cudaArray_t array;
        CUDA(cudaGetMipmappedArrayLevel(&array, mipmap, level));
        int size = 16 >> level;
        std::vector<float> texels(size * size, 10.0f * (level + 1));
        CUDA(cudaMemcpy2DToArray(array, 0, 0, texels.data(), size * 4, size * 4, size, cudaMemcpyHostToDevice));
    }
    cudaResourceDesc resource = of(mipmap);
    cudaTextureDesc desc = {};
    for (auto &mode : desc.addressMode) mode = cudaAddressModeClamp;
    desc.filterMode = cudaFilterModeLinear;
    desc.mipmapFilterMode = cudaFilterModeLinear;
    desc.normalizedCoords = 1;
    desc.maxMipmapLevelClamp = 10;
    cudaResourceViewDesc view = {};
    view.format = cudaResViewFormatFloat1;
    view.width = view.height = 16;
    view.firstMipmapLevel = 1;
    view.lastMipmapLevel = 2;
    cudaTextureObject_t object;
    CUDA(cudaCreateTextureObject(&object, &resource, &desc, &view));
    auto r = on_device(8, [=] __device__(int i) { return tex2DLod<float>(object, 0.4f, 0.6f, i * 0.5f); });
    const float expected[8] = {20, 25, 30, 30, 30, 30, 30, 30};
    // Filtering rounds.
    for (int i = 0; i < 8; i++) REQUIRE_ELEMENT(lroundf(r[i]), expected[i], i);
    CUDA(cudaDestroyTextureObject(object));
    CUDA(cudaFreeMipmappedArray(mipmap));
}

int main() {
    objects_tell_what_they_were_made_of();
    views_have_other_formats();
    views_have_some_of_the_layers();
    views_have_some_of_the_cubes();
    views_have_some_of_the_levels();
    return pass();
}
