//! Threads that compress segments; the results come back in the order of the questions.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

use super::compress::{Squeezed, Squeezer};
use super::options::Options;

/// One question: the segment, and where the answer goes.
type Job = (Vec<u8>, SyncSender<Squeezed>);

/// Threads that wait for segments until the pool is dropped.
#[derive(Debug)]
pub struct Pool {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// An answer that may not be there yet.
#[derive(Debug)]
pub struct Answer(Receiver<Squeezed>);

impl Pool {
    /// Starts the threads.
    pub fn new(options: &Options) -> io::Result<Self> {
        // Unbounded, because whoever asks bounds how many answers are waited for.
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let mut pool = Self { jobs: Some(jobs), threads: Vec::new() };
        for number in 0..options.threads.get() {
            let (compression, cluster) = (options.compression, options.cluster_size);
            let queue = Arc::clone(&queue);
            let thread = Builder::new().name(format!("compress-{number}")).spawn(move || {
                let Some(mut squeezer) = Squeezer::new(compression, cluster) else { return };
                loop {
                    let job = match queue.lock() {
                        Ok(queue) => queue.recv(),
                        Err(_) => return,
                    };
                    let Ok((segment, answer)) = job else { return };
                    // Nobody waits any more when writing failed.
                    let _ = answer.send(squeezer.squeeze(segment));
                }
            })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Hands a segment to a thread.
    pub fn ask(&self, segment: Vec<u8>) -> io::Result<Answer> {
        let (sender, receiver) = sync_channel(1);
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send((segment, sender)).is_ok());
        if sent { Ok(Answer(receiver)) } else { Err(gone()) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has been noticed by its missing answer.
            let _ = thread.join();
        }
    }
}

impl Answer {
    /// Waits for the answer.
    pub fn wait(self) -> io::Result<Squeezed> {
        self.0.recv().map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::other("a compressing thread ended before its work was done")
}
