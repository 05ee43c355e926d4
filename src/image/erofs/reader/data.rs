//! The contents of an inode of an image, from the start to the end.

use std::io::{self, Read};

use super::super::format::{
    ChunkIndex, EROFS_CHUNK_FORMAT_BLKBITS_MASK, EROFS_CHUNK_FORMAT_INDEXES,
    EROFS_FEATURE_INCOMPAT_48BIT, EROFS_FEATURE_INCOMPAT_LZ4_0PADDING, EROFS_INODE_CHUNK_BASED,
    EROFS_INODE_COMPRESSED_COMPACT, EROFS_INODE_COMPRESSED_FULL, EROFS_INODE_FLAT_INLINE,
    EROFS_INODE_FLAT_PLAIN, EROFS_NULL_ADDR, MapHeader, Z_EROFS_ADVISE_EXTENTS,
    Z_EROFS_COMPRESSION_DEFLATE, Z_EROFS_COMPRESSION_LZ4, Z_EROFS_COMPRESSION_ZSTD,
    Z_EROFS_FRAGMENT_INODE, Z_EROFS_PCLUSTER_MAX_DSIZE, Z_EROFS_PCLUSTER_MAX_SIZE,
};
use super::super::{BLOCK, codec, lz4, size, wide};
use super::algorithms::name_of;
use super::encoded::Encoded;
use super::inode::Inode;
use super::lclusters::Lclusters;
use super::{Reader, corrupt, expect_data, unsupported};
use crate::image::Error;

/// Reads the contents of an inode.
#[derive(Debug)]
pub struct File<'a> {
    reader: &'a Reader,
    state: State,
}

/// How far an inode was read; kept between the fragments of the packed inode.
#[derive(Debug)]
pub(super) struct State {
    inode: Inode,
    map: Map,
    position: u64,
    /// The extent that was found last.
    last: Option<Extent>,
    /// A part of the contents that was decompressed: from where, and the bytes.
    decompressed: (u64, Vec<u8>),
}

/// What tells where the contents are.
#[derive(Debug)]
enum Map {
    /// The inode.
    Inode,
    Lclusters(Lclusters),
    Encoded(Encoded),
}

/// A part of the contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where in the contents it starts.
    pub start: u64,
    /// How long it is there.
    pub length: u64,
    /// Where its bytes are.
    pub source: Source,
}

/// Where bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the image, as they are.
    Plain { position: u64 },
    /// Nowhere: zeros.
    Hole,
    /// In the image, as they are, but the first of them, up to where a block of the contents
    /// ends, behind the others.
    Interlaced { position: u64, length: u64 },
    /// In the image, compressed.
    Compressed { position: u64, length: u64, algorithm: u8, partial: bool },
    /// In the packed inode.
    Fragment { offset: u64 },
}

impl<'a> File<'a> {
    pub(super) fn new(reader: &'a Reader, inode: Inode) -> Result<Self, Error> {
        let compressed =
            matches!(inode.layout, EROFS_INODE_COMPRESSED_COMPACT | EROFS_INODE_COMPRESSED_FULL);
        let map = if compressed && inode.size > 0 {
            let start = inode.body.next_multiple_of(8);
            let header: MapHeader = reader.structure(start)?;
            let encoded = inode.layout == EROFS_INODE_COMPRESSED_FULL
                && header.h_advise.get() & Z_EROFS_ADVISE_EXTENTS != 0
                && header.h_clusterbits & Z_EROFS_FRAGMENT_INODE == 0
                && reader.has(EROFS_FEATURE_INCOMPAT_48BIT);
            if encoded {
                let (nid, size) = (inode.nid, inode.size);
                Map::Encoded(Encoded::new(reader, nid, size, header, start + 8)?)
            } else {
                Map::Lclusters(Lclusters::new(reader, &inode, header)?)
            }
        } else {
            Map::Inode
        };
        let decompressed = (0, Vec::new());
        Ok(Self { reader, state: State { inode, map, position: 0, last: None, decompressed } })
    }

    /// Where in the packed inode the last bytes are, if they are there.
    pub(in super::super) fn fragment(&self) -> Option<u64> {
        match &self.state.map {
            Map::Inode => None,
            Map::Lclusters(lclusters) => lclusters.fragment(),
            Map::Encoded(encoded) => encoded.fragment(self.reader).ok().flatten(),
        }
    }

    /// Goes through all extents without decoding them: each must be somewhere in the image.
    pub(in super::super) fn walk(mut self) -> Result<(), Error> {
        while self.state.position < self.state.inode.size {
            let extent = self.extent()?;
            match extent.source {
                Source::Hole => {}
                Source::Plain { position } => self.reader.expect(position, extent.length)?,
                Source::Interlaced { position, length } => {
                    self.expect_sizes(extent.length, length)?;
                    self.reader.expect(position, length)?;
                }
                Source::Compressed { position, length, algorithm, .. } => {
                    self.expect_sizes(extent.length, length)?;
                    self.expect_algorithm(algorithm, position, length)?;
                    self.reader.expect(position, length)?;
                }
                Source::Fragment { offset } => {
                    let packed = self.packed()?;
                    let end = offset.checked_add(extent.length);
                    if end.is_none_or(|end| end > packed.size) {
                        return Err(corrupt(format!(
                            "found a fragment of inode {} at {offset} of {}",
                            self.state.inode.nid, packed.size
                        )));
                    }
                }
            }
            self.state.position = extent.start + extent.length;
        }
        Ok(())
    }

    /// Decodes everything, and shows it part by part.
    pub(in super::super) fn decode(mut self, mut show: impl FnMut(&[u8])) -> Result<(), Error> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.read_some(&mut buffer)? {
                0 => return Ok(()),
                n => show(buffer.get(..n).unwrap_or_default()),
            }
        }
    }

    /// Fills `bytes` with what comes next.
    pub(super) fn fill(&mut self, mut bytes: &mut [u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let n = self.read_some(bytes)?;
            if n == 0 {
                let (nid, size) = (self.state.inode.nid, self.state.inode.size);
                return Err(corrupt(format!("found the end of inode {nid} after {size} bytes")));
            }
            bytes = bytes.get_mut(n..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads at least one byte, unless there is none left.
    fn read_some(&mut self, bytes: &mut [u8]) -> Result<usize, Error> {
        if self.state.position >= self.state.inode.size || bytes.is_empty() {
            return Ok(0);
        }
        let (start, kept) = &self.state.decompressed;
        let skip = self.state.position.checked_sub(*start).map(size);
        if let Some(kept) = skip.and_then(|skip| kept.get(skip..)).filter(|kept| !kept.is_empty()) {
            let n = kept.len().min(bytes.len());
            bytes.iter_mut().zip(kept).for_each(|(to, from)| *to = *from);
            self.state.position += wide(n);
            return Ok(n);
        }
        let extent = self.extent()?;
        let inside = self.state.position - extent.start;
        let left = usize::try_from(extent.length - inside).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.get_mut(..left).unwrap_or_default();
        match extent.source {
            Source::Plain { position } => {
                let position = position.checked_add(inside).ok_or_else(|| self.beyond(position))?;
                self.reader.read_at(bytes, position)?;
            }
            Source::Hole => bytes.fill(0),
            Source::Interlaced { .. } | Source::Compressed { .. } => {
                self.state.decompressed = (extent.start, self.decompress(&extent)?);
                return self.read_some(bytes);
            }
            Source::Fragment { offset } => {
                let offset = offset.checked_add(inside).ok_or_else(|| self.beyond(offset))?;
                self.read_fragment(bytes, offset)?;
            }
        }
        self.state.position += wide(left);
        Ok(left)
    }

    fn beyond(&self, position: u64) -> Error {
        corrupt(format!("found bytes of inode {} at {position}", self.state.inode.nid))
    }

    /// The extent that `position` is in.
    fn extent(&mut self) -> Result<Extent, Error> {
        let position = self.state.position;
        let last = self.state.last.map(|last| (last, last.start + last.length));
        if let Some((last, end)) = last
            && (last.start..end).contains(&position)
        {
            return Ok(last);
        }
        let extent = self.find_extent()?;
        // One behind the other: so that all of them together are no more than the contents.
        let follows = last.is_none_or(|(_, end)| end != position || extent.start == position);
        let end = extent.start.checked_add(extent.length);
        let end = end.filter(|&end| end <= self.state.inode.size && end > position);
        if extent.start > position || end.is_none() || !follows {
            return Err(corrupt(format!(
                "found {} bytes at {} of inode {}, expected those at {position} of {}",
                extent.length, extent.start, self.state.inode.nid, self.state.inode.size
            )));
        }
        self.state.last = Some(extent);
        Ok(extent)
    }

    fn find_extent(&self) -> Result<Extent, Error> {
        Ok(match (&self.state.map, self.state.inode.layout) {
            (Map::Lclusters(lclusters), _) => lclusters.extent(self.reader, self.state.position)?,
            (Map::Encoded(encoded), _) => encoded.extent(self.reader, self.state.position)?,
            (Map::Inode, EROFS_INODE_FLAT_PLAIN | EROFS_INODE_FLAT_INLINE) => self.flat()?,
            (Map::Inode, EROFS_INODE_CHUNK_BASED) => self.chunk()?,
            (Map::Inode, layout) => {
                return Err(unsupported(format!("found the data layout {layout}")));
            }
        })
    }

    fn flat(&self) -> Result<Extent, Error> {
        let size = self.state.inode.size;
        let position = self.state.inode.first_block() * BLOCK;
        let tail = if self.state.inode.layout == EROFS_INODE_FLAT_INLINE {
            // A size of whole blocks has a whole block as its tail.
            size - (size - 1) / BLOCK * BLOCK
        } else {
            0
        };
        Ok(if self.state.position < size - tail {
            expect_data(position, self.state.inode.nid)?;
            Extent { start: 0, length: size - tail, source: Source::Plain { position } }
        } else {
            let source = Source::Plain { position: self.state.inode.body };
            Extent { start: size - tail, length: tail, source }
        })
    }

    fn chunk(&self) -> Result<Extent, Error> {
        let format = self.state.inode.i_u;
        let known = EROFS_CHUNK_FORMAT_BLKBITS_MASK | EROFS_CHUNK_FORMAT_INDEXES;
        let bits = BLOCK.ilog2() + (format & EROFS_CHUNK_FORMAT_BLKBITS_MASK);
        if format & 0xffff & !known != 0 {
            return Err(unsupported(format!("found the chunk format {format:#x}")));
        }
        let number = self.state.position >> bits;
        let start = number << bits;
        let length = (1 << bits).min(self.state.inode.size - start);
        let indexed = format & EROFS_CHUNK_FORMAT_INDEXES != 0;
        let unit = if indexed { 8 } else { 4 };
        let table = self.state.inode.body.next_multiple_of(unit);
        let place =
            number.checked_mul(unit).and_then(|offset| offset.checked_add(table)).ok_or_else(
                || corrupt(format!("found too many chunks in inode {}", self.state.inode.nid)),
            )?;
        let block = if indexed {
            let index: ChunkIndex = self.reader.structure(place)?;
            if index.device_id.get() != 0 {
                return Err(unsupported(format!("found a chunk on device {}", index.device_id)));
            }
            index.startblk_lo.get()
        } else {
            self.reader.structure::<zerocopy::little_endian::U32>(place)?.get()
        };
        let source = match block {
            EROFS_NULL_ADDR => Source::Hole,
            block => {
                let position = u64::from(block) * BLOCK;
                expect_data(position, self.state.inode.nid)?;
                Source::Plain { position }
            }
        };
        Ok(Extent { start, length, source })
    }

    fn decompress(&self, extent: &Extent) -> Result<Vec<u8>, Error> {
        let nid = self.state.inode.nid;
        let mut bytes = Vec::new();
        match extent.source {
            Source::Compressed { position, length, algorithm, partial } => {
                self.expect_sizes(extent.length, length)?;
                self.expect_algorithm(algorithm, position, length)?;
                self.reader.spend(extent.length.max(length))?;
                bytes = vec![0; size(extent.length)];
                let mut cluster = vec![0; size(length)];
                self.reader.read_at(&mut cluster, position)?;
                // Only LZ4 ever came without padding, behind which there may be anything.
                let padded = algorithm != Z_EROFS_COMPRESSION_LZ4
                    || self.reader.has(EROFS_FEATURE_INCOMPAT_LZ4_0PADDING);
                // Kernels look for the end of the padding in the first block only.
                let first = size(length.min(BLOCK - position % BLOCK));
                let start = cluster.iter().take(first).position(|&byte| byte != 0);
                let start = if padded { start } else { Some(0) };
                let Some(block) = start.and_then(|start| cluster.get(start..)) else {
                    return Err(corrupt(format!(
                        "found {first} zeros at the start of a cluster at {position}, expected \
                         data of inode {nid}"
                    )));
                };
                let whole = !partial && padded;
                let decoded = match algorithm {
                    Z_EROFS_COMPRESSION_ZSTD => {
                        let log = self.reader.algorithms.zstd_window_log;
                        codec::unzstd_within(log, block, &mut bytes, whole)
                    }
                    Z_EROFS_COMPRESSION_DEFLATE => codec::inflate(block, &mut bytes),
                    _ if whole => lz4::decompress(block, &mut bytes),
                    _ => lz4::decompress_start(block, &mut bytes),
                };
                if !decoded {
                    let name = name_of(algorithm);
                    return Err(corrupt(format!(
                        "found a broken {name} cluster at {position}, expected {} bytes of inode {nid}",
                        extent.length
                    )));
                }
            }
            Source::Interlaced { position, length } => {
                self.expect_sizes(extent.length, length)?;
                self.reader.spend(extent.length)?;
                bytes = vec![0; size(extent.length)];
                let first = BLOCK - extent.start % BLOCK;
                // Kernels count back from the end of the cluster, within its last block, even if
                // it has fewer bytes than that.
                let end = position.checked_add(length).ok_or_else(|| self.beyond(position))?;
                let last = end.saturating_sub(1) / BLOCK * BLOCK;
                let behind = last + (end % BLOCK + BLOCK - first) % BLOCK;
                let (before, after) = bytes.split_at_mut(size(first.min(extent.length)));
                self.reader.read_at(before, behind)?;
                self.reader.read_at(after, position)?;
            }
            Source::Plain { .. } | Source::Hole | Source::Fragment { .. } => {}
        }
        Ok(bytes)
    }

    fn expect_sizes(&self, length: u64, stored: u64) -> Result<(), Error> {
        if length <= Z_EROFS_PCLUSTER_MAX_DSIZE && stored <= u64::from(Z_EROFS_PCLUSTER_MAX_SIZE) {
            return Ok(());
        }
        let nid = self.state.inode.nid;
        Err(corrupt(format!("found a cluster of {stored} bytes for {length} in inode {nid}")))
    }

    /// Fails for an algorithm that is not known here, or that the superblock does not announce,
    /// or not for clusters as large.
    fn expect_algorithm(&self, algorithm: u8, position: u64, length: u64) -> Result<(), Error> {
        let (nid, name) = (self.state.inode.nid, name_of(algorithm));
        if !matches!(
            algorithm,
            Z_EROFS_COMPRESSION_LZ4 | Z_EROFS_COMPRESSION_DEFLATE | Z_EROFS_COMPRESSION_ZSTD
        ) {
            return Err(unsupported(format!(
                "found {name} in inode {nid}, expected LZ4, DEFLATE or Zstandard"
            )));
        }
        let algorithms = &self.reader.algorithms;
        if !algorithms.announces(algorithm) {
            return Err(corrupt(format!(
                "found {name} in inode {nid}, which the superblock does not announce"
            )));
        }
        let blocks = (position % BLOCK + length).div_ceil(BLOCK);
        if algorithm == Z_EROFS_COMPRESSION_LZ4 && blocks > algorithms.lz4_blocks {
            return Err(corrupt(format!(
                "found {blocks} blocks of a cluster of {name} in inode {nid}, expected at most {} \
                 as the superblock says",
                algorithms.lz4_blocks
            )));
        }
        Ok(())
    }

    /// The packed inode.
    fn packed(&self) -> Result<Inode, Error> {
        let packed = self.reader.superblock.packed_nid.get();
        if packed == 0 || packed == self.state.inode.nid {
            return Err(corrupt(format!(
                "found a fragment of inode {}, but nowhere for it",
                self.state.inode.nid
            )));
        }
        self.reader.inode(packed)
    }

    fn read_fragment(&self, bytes: &mut [u8], offset: u64) -> Result<(), Error> {
        let inode = self.packed()?;
        let kept = self.reader.packed.take();
        let mut file = match kept {
            Some(state) => File { reader: self.reader, state },
            None => File::new(self.reader, inode)?,
        };
        // The packed inode has no fragments itself, so this does not go deeper.
        if file.fragment().is_some() {
            return Err(corrupt("found a fragment of the packed inode".to_owned()));
        }
        file.state.position = offset;
        let filled = file.fill(bytes);
        // Many files share a cluster of it.
        self.reader.packed.replace(Some(file.state));
        filled
    }
}

impl Read for File<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.read_some(bytes).map_err(|error| match error {
            Error::Io(error) => error,
            error => io::Error::new(io::ErrorKind::InvalidData, error),
        })
    }
}
