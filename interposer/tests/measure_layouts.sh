#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Prints where the fields of the Runtime API's structures lie, from NVIDIA's headers. Each argument names a release and the folder
# that holds its driver_types.h:
#
#     pip download --no-deps nvidia-cuda-runtime-cu11==11.8.89     # also -cu12==12.0.107, -cu12==12.9.79, nvidia-cuda-runtime==13.0.96
#     unzip -d 11.8 nvidia_cuda_runtime_cu11-11.8.89-*.whl
#     tests/measure_layouts.sh 11.8=11.8/nvidia/cuda_runtime/include ... > tests/data/struct_layouts.tsv
set -euo pipefail

structures="cudaDeviceProp cudaFuncAttributes cudaPointerAttributes cudaMemcpy3DParms cudaPitchedPtr cudaExtent cudaPos
cudaLaunchConfig_st cudaLaunchAttribute_st"

# fields STRUCTURE HEADER: the names of its fields, one a line.
fields() {
    gcc -fpreprocessed -dD -E -P "$2" 2>/dev/null | tr '\n' ' ' | grep -oP "struct (__device_builtin__ )?$1 *\{[^}]*\}" | head -1 |
        sed 's/^[^{]*{//; s/}$//' | tr ';' '\n' | sed 's/\[[^]]*\]//g' | grep -oP '[A-Za-z_0-9]+ *$' | tr -d ' ' || true
}

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
# The compiler's own header, which is not needed for layouts beyond these macros.
mkdir "$work/crt"
cat >"$work/crt/host_defines.h" <<'END'
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __align__(n)
#define __device_builtin__
#define __device_builtin_texture_type__
#define __device_builtin_surface_type__
#define __cudart_builtin__
#define __host__
#define __device__
#define __CUDA_ARCH_HAS_FEATURE__(x) 0
#define CUDARTAPI
#define CUDART_CB
END
printf '# structure\trelease\tfield (none: the size of the structure)\toffset\n'
for argument in "$@"; do
    release=${argument%%=*} include=${argument#*=}
    {
        echo '#include <stddef.h>'
        echo '#include <stdio.h>'
        echo '#include "driver_types.h"'
        echo 'int main(void) {'
        for structure in $structures; do
            names=$(fields "$structure" "$include/driver_types.h")
            [ -n "$names" ] || continue
            echo "printf(\"$structure\\t$release\\t\\t%zu\\n\", sizeof(struct $structure));"
            for name in $names; do
                echo "printf(\"$structure\\t$release\\t$name\\t%zu\\n\", offsetof(struct $structure, $name));"
            done
        done
        echo '}'
    } >"$work/measure.c"
    gcc -w -I "$include" -I "$work" -o "$work/measure" "$work/measure.c"
    "$work/measure"
done
