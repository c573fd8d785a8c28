// SPDX-License-Identifier: MIT OR Apache-2.0
//
// nvcc gave every program a call of __cudaInitModule, made with the handle of the registered fat binary before the first use of a
// managed variable. clang registers the fat binary the same way but does not make this call, so it is made here.

extern void **__cuda_gpubin_handle; // clang's; build.sh makes it visible
extern char __cudaInitModule(void **fat_binary);

char cuda90_init_module(void) { return __cudaInitModule(__cuda_gpubin_handle); }
