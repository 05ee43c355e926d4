//! The floor of docs/performance.md: what the job must cost, and nothing else. Inflates a gzip,
//! hashes both its sides, compresses pieces of what comes out and writes them in order; it keeps
//! no names, makes no image and checks nothing.
//!
//!     cargo bench --bench floor -- LAYER.tar.gz OUTPUT none|lz4hc:6|zstd:3 THREADS

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use lz4::block::CompressionMode;
use sha2::{Digest, Sha256};

/// Bytes that are compressed at a time.
const PIECE: usize = 256 << 10;

/// Hashes what is read.
struct Hashed<R>(R, Sha256);

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

#[derive(Clone, Copy)]
enum Codec {
    None,
    Lz4hc(i32),
    Zstd(i32),
}

impl Codec {
    fn compressor(self) -> impl FnMut(Vec<u8>) -> Vec<u8> {
        let mut zstd = match self {
            Self::Zstd(level) => Some(zstd::bulk::Compressor::new(level).expect("a compressor")),
            _ => None,
        };
        move |piece| match self {
            Self::None => piece,
            Self::Lz4hc(level) => {
                let mode = CompressionMode::HIGHCOMPRESSION(level);
                lz4::block::compress(&piece, Some(mode), false).expect("compressed bytes")
            }
            Self::Zstd(_) => {
                zstd.as_mut().expect("a compressor").compress(&piece).expect("compressed bytes")
            }
        }
    }
}

type Job = (Vec<u8>, SyncSender<Vec<u8>>);

fn compress(codec: Codec, jobs: &Mutex<Receiver<Job>>) {
    let mut compress = codec.compressor();
    loop {
        let job = jobs.lock().expect("a lock").recv();
        let Ok((piece, answer)) = job else { return };
        answer.send(compress(piece)).expect("a listener");
    }
}

/// Inflates the layer, piece by piece.
fn inflate(layer: File, pieces: &SyncSender<Vec<u8>>) -> io::Result<()> {
    let stored = Hashed(layer, Sha256::new());
    let mut tar = flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(PIECE, stored));
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        tar.by_ref().take(u64::try_from(PIECE).expect("a size")).read_to_end(&mut piece)?;
        if piece.is_empty() {
            let digest = tar.into_inner().into_inner().1.finalize();
            println!("layer {digest:x?}");
            return Ok(());
        }
        pieces.send(piece).expect("a listener");
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [layer, output, codec, threads] = &arguments[..] else {
        eprintln!("not run: floor (expected LAYER.tar.gz OUTPUT CODEC THREADS)");
        return Ok(());
    };
    let codec = match codec.split_once(':') {
        Some(("lz4hc", level)) => Codec::Lz4hc(level.parse().expect("a level")),
        Some(("zstd", level)) => Codec::Zstd(level.parse().expect("a level")),
        _ => Codec::None,
    };
    let threads: usize = threads.parse().expect("a number of threads");
    let (layer, mut output) = (File::open(layer)?, File::create(output)?);
    let (sender, pieces) = sync_channel(4);
    let inflating = thread::spawn(move || inflate(layer, &sender));
    let (jobs, queue) = sync_channel::<Job>(threads + 2);
    let queue = Arc::new(Mutex::new(queue));
    let squeezing: Vec<_> = (0..threads)
        .map(|_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || compress(codec, &queue))
        })
        .collect();
    let mut hasher = Sha256::new();
    let mut answers: VecDeque<Receiver<Vec<u8>>> = VecDeque::new();
    for piece in pieces {
        hasher.update(&piece);
        if matches!(codec, Codec::None) {
            output.write_all(&piece)?;
            continue;
        }
        let (sender, answer) = sync_channel(1);
        jobs.send((piece, sender)).expect("a thread");
        answers.push_back(answer);
        if answers.len() > threads + 2 {
            let first = answers.pop_front().expect("an answer");
            output.write_all(&first.recv().expect("an answer"))?;
        }
    }
    for answer in answers {
        output.write_all(&answer.recv().expect("an answer"))?;
    }
    drop(jobs);
    for thread in squeezing {
        thread.join().expect("a thread that ends");
    }
    inflating.join().expect("a thread that ends")?;
    println!("tar {:x?}", hasher.finalize());
    Ok(())
}
