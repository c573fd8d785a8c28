// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device management: `cudaDeviceProp`, whose layout differs between releases.
//!
//! The structure is declared once, with the releases that have each field; where a field lies
//! follows by the rules of C, and a test compares it with the headers of each release.

use crate::abi::{In, Out};
use crate::contexts::{self, Device};
use crate::entry::export;
use crate::{Result, error};

/// The major release whose structure is meant.
type Release = u8;

/// What a field holds.
#[derive(Clone, Copy)]
enum Value {
    Name,
    Uuid,
    TotalMemory,
    /// `int`s, each a `CUdevice_attribute`.
    Ints(&'static [u32]),
    /// `size_t`, from a `CUdevice_attribute`.
    Size(u32),
    /// What has no meaning here, or none yet: elements of a size.
    Zeros(usize, usize),
}
use Value::*;

struct Field {
    #[cfg_attr(not(test), expect(dead_code, reason = "it is for people and tests"))]
    name: &'static str,
    value: Value,
    first: Release,
    last: Release,
}

const OLDEST: Release = 9;
const NEWEST: Release = 13;

const fn field(name: &'static str, value: Value, first: Release, last: Release) -> Field {
    Field {
        name,
        value,
        first,
        last,
    }
}

/// A field that every release has.
const fn always(name: &'static str, value: Value) -> Field {
    field(name, value, OLDEST, NEWEST)
}

/// A field that a release brought.
const fn since(first: Release, name: &'static str, value: Value) -> Field {
    field(name, value, first, NEWEST)
}

/// A field that 13.0 does not have any more.
const fn until_12(name: &'static str, value: Value) -> Field {
    field(name, value, OLDEST, 12)
}

static FIELDS: &[Field] = &[
    always("name", Name),
    since(10, "uuid", Uuid),
    since(10, "luid", Zeros(8, 1)),
    since(10, "luidDeviceNodeMask", Zeros(1, 4)),
    always("totalGlobalMem", TotalMemory),
    always("sharedMemPerBlock", Size(8)),
    always("regsPerBlock", Ints(&[12])),
    always("warpSize", Ints(&[10])),
    always("memPitch", Size(11)),
    always("maxThreadsPerBlock", Ints(&[1])),
    always("maxThreadsDim", Ints(&[2, 3, 4])),
    always("maxGridSize", Ints(&[5, 6, 7])),
    until_12("clockRate", Ints(&[13])),
    always("totalConstMem", Size(9)),
    always("major", Ints(&[75])),
    always("minor", Ints(&[76])),
    always("textureAlignment", Size(14)),
    always("texturePitchAlignment", Size(51)),
    until_12("deviceOverlap", Ints(&[15])),
    always("multiProcessorCount", Ints(&[16])),
    until_12("kernelExecTimeoutEnabled", Ints(&[17])),
    always("integrated", Ints(&[18])),
    always("canMapHostMemory", Ints(&[19])),
    until_12("computeMode", Ints(&[20])),
    always("maxTexture1D", Ints(&[21])),
    always("maxTexture1DMipmap", Ints(&[77])),
    until_12("maxTexture1DLinear", Ints(&[69])),
    always("maxTexture2D", Ints(&[22, 23])),
    always("maxTexture2DMipmap", Ints(&[73, 74])),
    always("maxTexture2DLinear", Ints(&[70, 71, 72])),
    always("maxTexture2DGather", Ints(&[45, 46])),
    always("maxTexture3D", Ints(&[24, 25, 26])),
    always("maxTexture3DAlt", Ints(&[47, 48, 49])),
    always("maxTextureCubemap", Ints(&[52])),
    always("maxTexture1DLayered", Ints(&[42, 43])),
    always("maxTexture2DLayered", Ints(&[27, 28, 29])),
    always("maxTextureCubemapLayered", Ints(&[53, 54])),
    always("maxSurface1D", Ints(&[55])),
    always("maxSurface2D", Ints(&[56, 57])),
    always("maxSurface3D", Ints(&[58, 59, 60])),
    always("maxSurface1DLayered", Ints(&[61, 62])),
    always("maxSurface2DLayered", Ints(&[63, 64, 65])),
    always("maxSurfaceCubemap", Ints(&[66])),
    always("maxSurfaceCubemapLayered", Ints(&[67, 68])),
    always("surfaceAlignment", Size(30)),
    always("concurrentKernels", Ints(&[31])),
    always("ECCEnabled", Ints(&[32])),
    always("pciBusID", Ints(&[33])),
    always("pciDeviceID", Ints(&[34])),
    always("pciDomainID", Ints(&[50])),
    always("tccDriver", Ints(&[35])),
    always("asyncEngineCount", Ints(&[40])),
    always("unifiedAddressing", Ints(&[41])),
    until_12("memoryClockRate", Ints(&[36])),
    always("memoryBusWidth", Ints(&[37])),
    always("l2CacheSize", Ints(&[38])),
    since(11, "persistingL2CacheMaxSize", Ints(&[108])),
    always("maxThreadsPerMultiProcessor", Ints(&[39])),
    always("streamPrioritiesSupported", Ints(&[78])),
    always("globalL1CacheSupported", Ints(&[79])),
    always("localL1CacheSupported", Ints(&[80])),
    always("sharedMemPerMultiprocessor", Size(81)),
    always("regsPerMultiprocessor", Ints(&[82])),
    always("managedMemory", Ints(&[83])),
    always("isMultiGpuBoard", Ints(&[84])),
    always("multiGpuBoardGroupID", Ints(&[85])),
    always("hostNativeAtomicSupported", Ints(&[86])),
    until_12("singleToDoublePrecisionPerfRatio", Ints(&[87])),
    always("pageableMemoryAccess", Ints(&[88])),
    always("concurrentManagedAccess", Ints(&[89])),
    always("computePreemptionSupported", Ints(&[90])),
    always("canUseHostPointerForRegisteredMem", Ints(&[91])),
    always("cooperativeLaunch", Ints(&[95])),
    until_12("cooperativeMultiDeviceLaunch", Ints(&[96])),
    always("sharedMemPerBlockOptin", Size(97)),
    since(10, "pageableMemoryAccessUsesHostPageTables", Ints(&[100])),
    since(10, "directManagedMemAccessFromHost", Ints(&[101])),
    since(11, "maxBlocksPerMultiProcessor", Ints(&[106])),
    since(11, "accessPolicyMaxWindowSize", Ints(&[109])),
    since(11, "reservedSharedMemPerBlock", Size(111)),
    since(12, "hostRegisterSupported", Ints(&[99])),
    since(12, "sparseCudaArraySupported", Ints(&[112])),
    since(12, "hostRegisterReadOnlySupported", Ints(&[113])),
    since(12, "timelineSemaphoreInteropSupported", Ints(&[114])),
    since(12, "memoryPoolsSupported", Ints(&[115])),
    since(12, "gpuDirectRDMASupported", Ints(&[116])),
    since(12, "gpuDirectRDMAFlushWritesOptions", Ints(&[117])),
    since(12, "gpuDirectRDMAWritesOrdering", Ints(&[118])),
    since(12, "memoryPoolSupportedHandleTypes", Ints(&[119])),
    since(12, "deferredMappingCudaArraySupported", Ints(&[121])),
    since(12, "ipcEventSupported", Ints(&[125])),
    since(12, "clusterLaunch", Ints(&[120])),
    since(12, "unifiedFunctionPointers", Ints(&[129])),
    since(13, "deviceNumaConfig", Ints(&[130])),
    since(13, "deviceNumaId", Ints(&[131])),
    since(13, "mpsEnabled", Ints(&[133])),
    since(13, "hostNumaId", Ints(&[134])),
    since(13, "gpuPciDeviceID", Ints(&[139])),
    since(13, "gpuPciSubsystemID", Ints(&[140])),
    since(13, "hostNumaMultinodeIpcSupported", Ints(&[143])),
    field("reserved", Zeros(63, 4), 12, 12),
    since(13, "reserved", Zeros(56, 4)),
];

/// `char name[256]`
const NAME_LEN: usize = 256;

impl Value {
    /// Elements and their size, which is also their alignment.
    fn shape(self) -> (usize, usize) {
        match self {
            Name => (NAME_LEN, 1),
            Uuid => (16, 1),
            TotalMemory | Size(_) => (1, 8),
            Ints(attributes) => (attributes.len(), 4),
            Zeros(count, size) => (count, size),
        }
    }

    /// The bytes of a field, for a device.
    fn bytes(self, device: &Device) -> Vec<u8> {
        let attribute = |&number: &u32| device.attribute(number).unwrap_or(0);
        match self {
            Name => {
                let mut name = device.info.name.clone().into_bytes();
                name.truncate(NAME_LEN - 1);
                name.resize(NAME_LEN, 0);
                name
            }
            Uuid => device.info.uuid.to_vec(),
            TotalMemory => device.info.total_memory.to_ne_bytes().to_vec(),
            Size(number) => u64::from(attribute(&number).max(0) as u32)
                .to_ne_bytes()
                .to_vec(),
            Ints(numbers) => numbers
                .iter()
                .flat_map(|number| attribute(number).to_ne_bytes())
                .collect(),
            Zeros(count, size) => vec![0; count * size],
        }
    }

    /// How many of the numbers in a field are asked for, and are no more than what a device has.
    fn matches(self, wanted: &[u8], has: &[u8]) -> usize {
        let number = |bytes: &[u8]| match *bytes {
            [a, b, c, d] => i64::from(i32::from_ne_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => i64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            _ => 0,
        };
        match self {
            Ints(_) | Size(_) | TotalMemory => {
                let (_, size) = self.shape();
                wanted
                    .chunks_exact(size)
                    .zip(has.chunks_exact(size))
                    .map(|(wanted, has)| (number(wanted), number(has)))
                    .filter(|&(wanted, has)| 0 < wanted && wanted <= has)
                    .count()
            }
            Name | Uuid | Zeros(..) => 0,
        }
    }
}

/// The fields of a release's structure with their offsets, and its size.
fn layout(release: Release) -> (Vec<(usize, &'static Field)>, usize) {
    let (mut fields, mut end) = (Vec::new(), 0usize);
    for field in FIELDS
        .iter()
        .filter(|f| (f.first..=f.last).contains(&release))
    {
        let (count, size) = field.value.shape();
        let offset = end.next_multiple_of(size);
        fields.push((offset, field));
        end = offset + count * size;
    }
    // The strictest alignment is that of size_t.
    (fields, end.next_multiple_of(8))
}

/// A device's structure, as a release lays it out.
fn structure(device: &Device, release: Release) -> Vec<u8> {
    let (fields, size) = layout(release);
    let mut bytes = vec![0; size];
    for (offset, field) in fields {
        let value = field.value.bytes(device);
        if let Some(room) = bytes.get_mut(offset..offset + value.len()) {
            room.copy_from_slice(&value);
        }
    }
    bytes
}

fn get(out: Out<u8>, ordinal: i32, release: Release) -> Result<()> {
    out.present()?;
    out.set_bytes(&structure(contexts::device(ordinal)?, release))
}

/// `cudaChooseDevice`: the device that has most of what is asked for. CUDA does not say how it
/// weighs them; here, each number that is positive is asked for, and a device has it if its own is
/// not smaller.
fn choose(ordinal: Out<i32>, wanted: In<u8>, release: Release) -> Result<()> {
    ordinal.present()?;
    let (fields, size) = layout(release);
    let wanted = wanted.bytes(size)?;
    let score = |device: &&Device| -> usize {
        let has = structure(device, release);
        let one = |&(offset, field): &(usize, &Field)| {
            let (count, size) = field.value.shape();
            let range = offset..offset + count * size;
            match (wanted.get(range.clone()), has.get(range)) {
                (Some(wanted), Some(has)) => field.value.matches(wanted, has),
                _ => 0,
            }
        };
        fields.iter().map(one).sum()
    };
    // Of equals, max_by_key takes the last.
    let best = contexts::devices()?.iter().rev().max_by_key(score);
    ordinal.set(best.ok_or(error::NO_DEVICE)?.ordinal as i32)
}

export! { runtime:
    /// `cudaGetDeviceProperties` — CUDA Runtime API 9.0 to 9.2, Device Management.
    fn cudaGetDeviceProperties__v9(out: Out<u8>, ordinal: i32) {
        get(out, ordinal, 9)
    }

    /// `cudaGetDeviceProperties` — CUDA Runtime API 10.0 to 10.2, Device Management.
    fn cudaGetDeviceProperties__v10(out: Out<u8>, ordinal: i32) {
        get(out, ordinal, 10)
    }

    /// `cudaGetDeviceProperties` — CUDA Runtime API 11.0 to 12.9, Device Management. Programs of
    /// 12.0 that mean the new structure ask for `cudaGetDeviceProperties_v2`.
    fn cudaGetDeviceProperties__v11(out: Out<u8>, ordinal: i32) {
        get(out, ordinal, 11)
    }

    /// `cudaGetDeviceProperties_v2` — CUDA Runtime API 12.0 to 12.9, Device Management.
    fn cudaGetDeviceProperties_v2(out: Out<u8>, ordinal: i32) {
        get(out, ordinal, 12)
    }

    /// `cudaGetDeviceProperties` — CUDA Runtime API 13.0, Device Management.
    fn cudaGetDeviceProperties__v13(out: Out<u8>, ordinal: i32) {
        get(out, ordinal, 13)
    }

    /// `cudaChooseDevice` — CUDA Runtime API 9.0 to 9.2, Device Management.
    fn cudaChooseDevice__v9(ordinal: Out<i32>, wanted: In<u8>) {
        choose(ordinal, wanted, 9)
    }

    /// `cudaChooseDevice` — CUDA Runtime API 10.0 to 10.2, Device Management.
    fn cudaChooseDevice__v10(ordinal: Out<i32>, wanted: In<u8>) {
        choose(ordinal, wanted, 10)
    }

    /// `cudaChooseDevice` — CUDA Runtime API 11.0 to 11.8, Device Management.
    fn cudaChooseDevice__v11(ordinal: Out<i32>, wanted: In<u8>) {
        choose(ordinal, wanted, 11)
    }

    /// `cudaChooseDevice` — CUDA Runtime API 12.0 to 12.9, Device Management.
    fn cudaChooseDevice__v12(ordinal: Out<i32>, wanted: In<u8>) {
        choose(ordinal, wanted, 12)
    }

    /// `cudaChooseDevice` — CUDA Runtime API 13.0, Device Management.
    fn cudaChooseDevice__v13(ordinal: Out<i32>, wanted: In<u8>) {
        choose(ordinal, wanted, 13)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::layouts::assert_layout;

    #[test]
    fn the_structure_is_laid_out_as_in_each_release() {
        for (release, header) in [(11, "11.8"), (12, "12.0"), (12, "12.9"), (13, "13.0")] {
            let (fields, size) = layout(release);
            let fields: Vec<_> = fields
                .iter()
                .map(|(offset, field)| (field.name, *offset))
                .collect();
            assert_layout("cudaDeviceProp", header, size, &fields);
        }
    }

    /// Taken from the declarations in the manuals of 9.0 and 10.0; no header of these releases was
    /// at hand.
    #[test]
    fn older_structures_are_laid_out_as_documented() {
        let offset = |release, name| {
            let (fields, _) = layout(release);
            fields
                .iter()
                .find(|(_, field)| field.name == name)
                .map(|&(offset, _)| offset)
        };
        for (name, nine, ten) in [
            ("name", Some(0), Some(0)),
            ("uuid", None, Some(256)),
            ("luidDeviceNodeMask", None, Some(280)),
            ("totalGlobalMem", Some(256), Some(288)),
            ("memPitch", Some(280), Some(312)),
            ("totalConstMem", Some(320), Some(352)),
            ("major", Some(328), Some(360)),
            ("multiProcessorCount", Some(356), Some(388)),
            ("directManagedMemAccessFromHost", None, Some(708)),
        ] {
            assert_eq!((offset(9, name), offset(10, name)), (nine, ten), "{name}");
        }
        assert_eq!(layout(9).1, 672);
        assert_eq!(layout(10).1, 712);
    }

    #[test]
    fn a_number_counts_that_is_asked_for_and_not_beyond_the_device() {
        let bytes = |numbers: [i32; 3]| numbers.map(i32::to_ne_bytes).concat();
        let field = Ints(&[5, 6, 7]);
        assert_eq!(field.matches(&bytes([0, -1, 4]), &bytes([9, 9, 4])), 1);
        assert_eq!(field.matches(&bytes([1, 2, 5]), &bytes([9, 9, 4])), 2);
    }
}
