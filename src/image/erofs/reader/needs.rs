//! What a kernel must have to mount an image, as far as its superblock tells.

use super::super::format::{
    EROFS_FEATURE_INCOMPAT_48BIT, EROFS_FEATURE_INCOMPAT_CHUNKED_FILE,
    EROFS_FEATURE_INCOMPAT_COMPR_CFGS, EROFS_FEATURE_INCOMPAT_COMPR_HEAD2,
    EROFS_FEATURE_INCOMPAT_FRAGMENTS, EROFS_FEATURE_INCOMPAT_LZ4_0PADDING,
    EROFS_FEATURE_INCOMPAT_ZTAILPACKING, Z_EROFS_COMPRESSION_DEFLATE, Z_EROFS_COMPRESSION_LZMA,
    Z_EROFS_COMPRESSION_ZSTD,
};
use super::super::kernel::Kernel;
use super::Reader;

/// What a kernel must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// No older one knows the format.
    pub kernel: Kernel,
    /// The options that it must have been built with: no version implies them.
    pub options: Vec<&'static str>,
}

/// The first kernels that know a feature.
const FEATURES: [(u32, Kernel); 6] = [
    (EROFS_FEATURE_INCOMPAT_COMPR_CFGS, Kernel::BIG_CLUSTERS),
    (EROFS_FEATURE_INCOMPAT_CHUNKED_FILE, Kernel::new(5, 15)),
    (EROFS_FEATURE_INCOMPAT_COMPR_HEAD2, Kernel::new(5, 16)),
    (EROFS_FEATURE_INCOMPAT_ZTAILPACKING, Kernel::TAIL_PACKING),
    (EROFS_FEATURE_INCOMPAT_FRAGMENTS, Kernel::FRAGMENTS),
    (EROFS_FEATURE_INCOMPAT_48BIT, Kernel::EXTENTS),
];

/// The first kernels that may know an algorithm, and their option for it.
const ALGORITHMS: [(u8, Kernel, &str); 3] = [
    (Z_EROFS_COMPRESSION_LZMA, Kernel::new(5, 16), "CONFIG_EROFS_FS_ZIP_LZMA"),
    (Z_EROFS_COMPRESSION_DEFLATE, Kernel::new(6, 6), "CONFIG_EROFS_FS_ZIP_DEFLATE"),
    (Z_EROFS_COMPRESSION_ZSTD, Kernel::ZSTD, "CONFIG_EROFS_FS_ZIP_ZSTD"),
];

impl Reader {
    /// What a kernel must have to mount the image.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs { kernel: Kernel::OLDEST, options: vec!["CONFIG_EROFS_FS"] };
        for (feature, since) in FEATURES {
            if self.has(feature) {
                needs.kernel = needs.kernel.max(since);
            }
        }
        if self.has(EROFS_FEATURE_INCOMPAT_LZ4_0PADDING)
            || self.superblock.available_compr_algs.get() != 0
        {
            needs.options.push("CONFIG_EROFS_FS_ZIP");
        }
        for (algorithm, since, option) in ALGORITHMS {
            if self.algorithms.announces(algorithm) {
                needs.kernel = needs.kernel.max(since);
                needs.options.push(option);
            }
        }
        needs
    }
}
