// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: --extended-lambda -gencode arch=compute_80,code=compute_80
//
// Texture objects over arrays of every shape and over linear memory: filters, address modes, coordinates, read modes.

#include "check_cuda.h"
#include <cuda_fp16.h>
#include <math.h>
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

static void near(const char *what, int i, float found, float expected, float tolerance = 1e-5f) {
    if (!(fabsf(found - expected) <= tolerance)) FAIL("%s %d is %.9g, not %.9g", what, i, found, expected);
}

static cudaTextureDesc description(cudaTextureAddressMode edge, cudaTextureFilterMode filter, bool normalized,
                                   cudaTextureReadMode read = cudaReadModeElementType) {
    cudaTextureDesc desc = {};
    for (auto &mode : desc.addressMode) mode = edge;
    desc.filterMode = filter;
    desc.readMode = read;
    desc.normalizedCoords = normalized;
    return desc;
}

static cudaTextureObject_t texture(cudaArray_t array, const cudaTextureDesc &desc) {
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = array;
    cudaTextureObject_t object;
    CUDA(cudaCreateTextureObject(&object, &resource, &desc, nullptr));
    return object;
}

static int wrapped(int i, int n) { return ((i % n) + n) % n; }
static int clamped(int i, int n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

static void two_dimensions() {
    const int w = 24, h = 10;
    std::vector<float> texels(w * h);
    for (int i = 0; i < w * h; i++) texels[i] = (float)(i * i % 101);
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaArray_t array;
    CUDA(cudaMallocArray(&array, &format, w, h));
    CUDA(cudaMemcpy2DToArray(array, 0, 0, texels.data(), w * 4, w * 4, h, cudaMemcpyHostToDevice));

    std::vector<float> back(w * h);
    CUDA(cudaMemcpy2DFromArray(back.data(), w * 4, array, 0, 0, w * 4, h, cudaMemcpyDeviceToHost));
    REQUIRE(back == texels);
    cudaChannelFormatDesc found;
    cudaExtent extent;
    unsigned flags;
    CUDA(cudaArrayGetInfo(&found, &extent, &flags, array));
    REQUIRE(found.x == 32 && found.f == cudaChannelFormatKindFloat && extent.width == w && extent.height == h && extent.depth == 0);

    // Nearest texels, with coordinates in texels, beyond the edges too.
    auto object = texture(array, description(cudaAddressModeClamp, cudaFilterModePoint, false));
    auto r = on_device(40 * 20, [=] __device__(int i) { return tex2D<float>(object, i % 40 - 7.5f, i / 40 - 4.5f); });
    for (int i = 0; i < 40 * 20; i++) near("clamp", i, r[i], texels[clamped(i / 40 - 5, h) * w + clamped(i % 40 - 8, w)]);
    CUDA(cudaDestroyTextureObject(object));

    auto border = texture(array, description(cudaAddressModeBorder, cudaFilterModePoint, false));
    r = on_device(40 * 20, [=] __device__(int i) { return tex2D<float>(border, i % 40 - 7.5f, i / 40 - 4.5f); });
    for (int i = 0; i < 40 * 20; i++) {
        int x = i % 40 - 8, y = i / 40 - 5;
        near("border", i, r[i], x < 0 || y < 0 || x >= w || y >= h ? 0 : texels[y * w + x]);
    }

    auto wrap = texture(array, description(cudaAddressModeWrap, cudaFilterModePoint, true));
    r = on_device(80 * 40, [=] __device__(int i) { return tex2D<float>(wrap, (i % 80 - 29.5f) / 24, (i / 80 - 14.5f) / 10); });
    for (int i = 0; i < 80 * 40; i++) near("wrap", i, r[i], texels[wrapped(i / 80 - 15, h) * w + wrapped(i % 80 - 30, w)]);

    auto mirror = texture(array, description(cudaAddressModeMirror, cudaFilterModePoint, true));
    r = on_device(80, [=] __device__(int i) { return tex2D<float>(mirror, (i - 29.5f) / 24, 0.05f); });
    for (int i = 0; i < 80; i++) {
        int x = wrapped(i - 30, 2 * w);
        near("mirror", i, r[i], texels[x < w ? x : 2 * w - 1 - x]);
    }

    // Mixtures of four texels: weights have 8 bits.
    for (bool normalized : {false, true}) {
        auto linear = texture(array, description(cudaAddressModeClamp, cudaFilterModeLinear, normalized));
        float sx = normalized ? 1.0f / w : 1, sy = normalized ? 1.0f / h : 1;
        r = on_device(1000, [=] __device__(int i) { return tex2D<float>(linear, (i % 50 * 0.5f) * sx, (i / 50 * 0.5f + 0.25f) * sy); });
        for (int i = 0; i < 1000; i++) {
            float x = i % 50 * 0.5f - 0.5f, y = i / 50 * 0.5f - 0.25f;
            int i0 = (int)floorf(x), j0 = (int)floorf(y);
            float a = x - i0, b = y - j0;
            auto t = [&](int i, int j) { return texels[clamped(j, h) * w + clamped(i, w)]; };
            float expected = (1 - a) * (1 - b) * t(i0, j0) + a * (1 - b) * t(i0 + 1, j0) + (1 - a) * b * t(i0, j0 + 1) + a * b * t(i0 + 1, j0 + 1);
            near("linear", i, r[i], expected, normalized ? 1.0f : 1e-3f);
        }
    }

    // Four texels around a corner.
    auto gather = texture(array, description(cudaAddressModeClamp, cudaFilterModePoint, false));
    cudaArray_t gathered;
    CUDA(cudaMallocArray(&gathered, &format, w, h, cudaArrayTextureGather));
    CUDA(cudaMemcpy2DArrayToArray(gathered, 0, 0, array, 0, 0, w * 4, h));
    auto four = texture(gathered, description(cudaAddressModeClamp, cudaFilterModePoint, false));
    r = on_device(4 * 20, [=] __device__(int i) {
        float4 v = tex2Dgather<float4>(four, i / 4 + 1.0f, 3.0f, 0);
        return i % 4 == 0 ? v.x : i % 4 == 1 ? v.y : i % 4 == 2 ? v.z : v.w;
    });
    for (int i = 0; i < 80; i++) {
        const int dx[4] = {0, 1, 1, 0}, dy[4] = {1, 1, 0, 0};
        near("gather", i, r[i], texels[(2 + dy[i % 4]) * w + i / 4 + dx[i % 4]]);
    }
    CUDA(cudaDestroyTextureObject(gather));
    CUDA(cudaFreeArray(gathered));
    CUDA(cudaFreeArray(array));
}

static void formats() {
    const int n = 64;
    std::vector<uchar4> bytes(n);
    for (int i = 0; i < n; i++) bytes[i] = make_uchar4(i, 255 - i, i * 4, i * 3 % 256);
    cudaChannelFormatDesc format = cudaCreateChannelDesc<uchar4>();
    cudaArray_t array;
    CUDA(cudaMallocArray(&array, &format, n, 1));
    CUDA(cudaMemcpy2DToArray(array, 0, 0, bytes.data(), n * 4, n * 4, 1, cudaMemcpyHostToDevice));
    auto raw = texture(array, description(cudaAddressModeClamp, cudaFilterModePoint, false));
    auto scaled = texture(array, description(cudaAddressModeClamp, cudaFilterModePoint, false, cudaReadModeNormalizedFloat));
    auto r = on_device(n, [=] __device__(int i) {
        uchar4 v = tex2D<uchar4>(raw, i + 0.5f, 0.5f);
        return v.x + v.y * 256.0f + v.z * 65536.0f;
    });
    for (int i = 0; i < n; i++) near("bytes", i, r[i], bytes[i].x + bytes[i].y * 256.0f + bytes[i].z * 65536.0f);
    r = on_device(n, [=] __device__(int i) { return tex2D<float4>(scaled, i + 0.5f, 0.5f).w; });
    for (int i = 0; i < n; i++) near("scaled bytes", i, r[i], bytes[i].w / 255.0f);
    CUDA(cudaFreeArray(array));

    std::vector<short> shorts(n);
    for (int i = 0; i < n; i++) shorts[i] = (short)(i * 1040 - 32768);
    format = cudaCreateChannelDesc<short>();
    CUDA(cudaMallocArray(&array, &format, n));
    CUDA(cudaMemcpy2DToArray(array, 0, 0, shorts.data(), n * 2, n * 2, 1, cudaMemcpyHostToDevice));
    auto s = texture(array, description(cudaAddressModeClamp, cudaFilterModePoint, false));
    auto sn = texture(array, description(cudaAddressModeClamp, cudaFilterModePoint, false, cudaReadModeNormalizedFloat));
    r = on_device(n, [=] __device__(int i) { return (float)tex1D<short>(s, i + 0.5f); });
    for (int i = 0; i < n; i++) near("shorts", i, r[i], shorts[i]);
    r = on_device(n, [=] __device__(int i) { return tex1D<float>(sn, i + 0.5f); });
    for (int i = 0; i < n; i++) near("scaled shorts", i, r[i], fmaxf(shorts[i] / 32767.0f, -1.0f));
    CUDA(cudaFreeArray(array));

    // Linear filters need numbers.
    cudaResourceDesc resource = {};
    format = cudaCreateChannelDesc<int>();
    CUDA(cudaMallocArray(&array, &format, n, n));
    resource.res.array.array = array;
    auto linear = description(cudaAddressModeClamp, cudaFilterModeLinear, false);
    cudaTextureObject_t object;
    EXPECT_LAST(cudaCreateTextureObject(&object, &resource, &linear, nullptr), cudaErrorInvalidFilterSetting);
    CUDA(cudaFreeArray(array));
}

static void linear_memory() {
    const int n = 1000;
    std::vector<float4> values(n);
    for (int i = 0; i < n; i++) values[i] = make_float4(i, -i, i * 0.5f, 1);
    float4 *device;
    CUDA(cudaMalloc(&device, n * sizeof(float4)));
    CUDA(cudaMemcpy(device, values.data(), n * sizeof(float4), cudaMemcpyHostToDevice));
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeLinear;
    resource.res.linear.devPtr = device;
    resource.res.linear.desc = cudaCreateChannelDesc<float4>();
    resource.res.linear.sizeInBytes = n * sizeof(float4);
    cudaTextureDesc desc = {};
    cudaTextureObject_t object;
    CUDA(cudaCreateTextureObject(&object, &resource, &desc, nullptr));
    auto r = on_device(n + 10, [=] __device__(int i) {
        float4 v = tex1Dfetch<float4>(object, i);
        return v.x * 2 + v.z;
    });
    for (int i = 0; i < n; i++) near("fetch", i, r[i], i * 2.5f);
    for (int i = n; i < n + 10; i++) near("fetch beyond the end", i, r[i], 0);

    // The memory can be written and is read anew by the next kernel.
    CUDA(cudaMemset(device, 0, 16));
    r = on_device(1, [=] __device__(int i) { return tex1Dfetch<float4>(object, i).w; });
    near("changed", 0, r[0], 0);
    CUDA(cudaDestroyTextureObject(object));

    size_t pitch;
    unsigned char *rows, host[20][100];
    for (int i = 0; i < 2000; i++) host[i / 100][i % 100] = (unsigned char)(i * 7);
    CUDA(cudaMallocPitch(&rows, &pitch, 100, 20));
    CUDA(cudaMemcpy2D(rows, pitch, host, 100, 100, 20, cudaMemcpyHostToDevice));
    resource = {};
    resource.resType = cudaResourceTypePitch2D;
    resource.res.pitch2D.devPtr = rows;
    resource.res.pitch2D.desc = cudaCreateChannelDesc<unsigned char>();
    resource.res.pitch2D.width = 100;
    resource.res.pitch2D.height = 20;
    resource.res.pitch2D.pitchInBytes = pitch;
    desc = description(cudaAddressModeClamp, cudaFilterModeLinear, false, cudaReadModeNormalizedFloat);
    CUDA(cudaCreateTextureObject(&object, &resource, &desc, nullptr));
    r = on_device(2000, [=] __device__(int i) { return tex2D<float>(object, i % 100 + 1.0f, i / 100 + 0.5f); });
    for (int i = 0; i < 2000; i++) {
        int x = i % 100, y = i / 100;
        near("pitched", i, r[i], (host[y][x] + host[y][clamped(x + 1, 100)]) / 510.0f);
    }
    CUDA(cudaDestroyTextureObject(object));
    CUDA(cudaFree(rows));
    CUDA(cudaFree(device));
}

static void copy_in(cudaArray_t array, float *texels, int w, int h, int d) {
    cudaMemcpy3DParms copy = {};
    copy.srcPtr = make_cudaPitchedPtr(texels, w * 4, w, h);
    copy.dstArray = array;
    copy.extent = make_cudaExtent(w, h, d);
    copy.kind = cudaMemcpyHostToDevice;
    CUDA(cudaMemcpy3D(&copy));
}

static void volumes_layers_and_cubes() {
    const int w = 9, h = 7, d = 5;
    std::vector<float> texels(w * h * d);
    for (int i = 0; i < w * h * d; i++) texels[i] = (float)(i * 13 % 251);
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaArray_t array;
    CUDA(cudaMalloc3DArray(&array, &format, make_cudaExtent(w, h, d)));
    copy_in(array, texels.data(), w, h, d);
    auto volume = texture(array, description(cudaAddressModeClamp, cudaFilterModePoint, false));
    auto r = on_device(w * h * d, [=] __device__(int i) { return tex3D<float>(volume, i % 9 + 0.5f, i / 9 % 7 + 0.5f, i / 63 + 0.5f); });
    for (int i = 0; i < w * h * d; i++) near("volume", i, r[i], texels[i]);
    auto mixed = texture(array, description(cudaAddressModeClamp, cudaFilterModeLinear, false));
    r = on_device(w * h * (d - 1), [=] __device__(int i) { return tex3D<float>(mixed, i % 9 + 0.5f, i / 9 % 7 + 0.5f, i / 63 + 1.0f); });
    for (int i = 0; i < w * h * (d - 1); i++) near("between slices", i, r[i], (texels[i] + texels[i + w * h]) / 2, 1e-3f);
    CUDA(cudaFreeArray(array));

    CUDA(cudaMalloc3DArray(&array, &format, make_cudaExtent(w, h, d), cudaArrayLayered));
    copy_in(array, texels.data(), w, h, d);
    auto layers = texture(array, description(cudaAddressModeClamp, cudaFilterModePoint, false));
    r = on_device(w * h * d, [=] __device__(int i) { return tex2DLayered<float>(layers, i % 9 + 0.5f, i / 9 % 7 + 0.5f, i / 63); });
    for (int i = 0; i < w * h * d; i++) near("layer", i, r[i], texels[i]);
    CUDA(cudaFreeArray(array));

    // 1D layers: 35 texels each.
    CUDA(cudaMalloc3DArray(&array, &format, make_cudaExtent(35, 0, 9), cudaArrayLayered));
    copy_in(array, texels.data(), 35, 1, 9);
    auto lines = texture(array, description(cudaAddressModeClamp, cudaFilterModePoint, false));
    r = on_device(w * h * d, [=] __device__(int i) { return tex1DLayered<float>(lines, i % 35 + 0.5f, i / 35); });
    for (int i = 0; i < w * h * d; i++) near("line", i, r[i], texels[i]);
    CUDA(cudaFreeArray(array));

    // The middle of each face of a cube.
    const int n = 5;
    CUDA(cudaMalloc3DArray(&array, &format, make_cudaExtent(n, n, 6), cudaArrayCubemap));
    copy_in(array, texels.data(), n, n, 6);
    auto cube = texture(array, description(cudaAddressModeClamp, cudaFilterModePoint, true));
    r = on_device(6, [=] __device__(int i) {
        float sign = i % 2 ? -1 : 1;
        return texCubemap<float>(cube, i / 2 == 0 ? sign : 0, i / 2 == 1 ? sign : 0, i / 2 == 2 ? sign : 0);
    });
    for (int i = 0; i < 6; i++) near("face", i, r[i], texels[i * n * n + 12]);
    // Off the middle of the face in +x: s is -z, t is -y.
    r = on_device(25, [=] __device__(int i) { return texCubemap<float>(cube, 1, -((i / 5 + 0.5f) / 2.5f - 1), -((i % 5 + 0.5f) / 2.5f - 1)); });
    for (int i = 0; i < 25; i++) near("on a face", i, r[i], texels[i]);
    CUDA(cudaFreeArray(array));
}

static void mipmaps() {
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaMipmappedArray_t mipmap;
    CUDA(cudaMallocMipmappedArray(&mipmap, &format, make_cudaExtent(16, 16, 0), 3));
    for (int level = 0; level < 3; level++) {
        cudaArray_t array;
        CUDA(cudaGetMipmappedArrayLevel(&array, mipmap, level));
        int size = 16 >> level;
        std::vector<float> texels(size * size, 10.0f * (level + 1));
        CUDA(cudaMemcpy2DToArray(array, 0, 0, texels.data(), size * 4, size * 4, size, cudaMemcpyHostToDevice));
    }
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeMipmappedArray;
    resource.res.mipmap.mipmap = mipmap;
    auto desc = description(cudaAddressModeClamp, cudaFilterModeLinear, true);
    desc.mipmapFilterMode = cudaFilterModeLinear;
    desc.maxMipmapLevelClamp = 2;
    cudaTextureObject_t object;
    CUDA(cudaCreateTextureObject(&object, &resource, &desc, nullptr));
    auto r = on_device(9, [=] __device__(int i) { return tex2DLod<float>(object, 0.3f, 0.6f, i * 0.25f); });
    for (int i = 0; i < 9; i++) near("level", i, r[i], 10 + 2.5f * i, 1e-3f);
    // A step of two texels of the first level is one of the second.
    r = on_device(1, [=] __device__(int i) { return tex2DGrad<float>(object, 0.5f, 0.5f, make_float2(2 / 16.0f, 0), make_float2(0, 2 / 16.0f)); });
    near("gradient", 0, r[0], 20, 0.5f);
    CUDA(cudaDestroyTextureObject(object));
    CUDA(cudaFreeMipmappedArray(mipmap));
}

int main() {
    two_dimensions();
    formats();
    linear_memory();
    volumes_layers_and_cubes();
    mipmaps();
    return pass();
}
