//! Threads that compress segments; the results come back in the order of the questions.

use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

use super::compress::{Buffers, Follows, Squeezed, Squeezer};
use super::options::Plan;

/// One question: the segment, what follows it, and where the answer goes.
type Job = (Buffers, Follows, SyncSender<Squeezed>);

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
    pub fn new(plan: Plan, threads: NonZeroUsize) -> io::Result<Self> {
        // Unbounded, because whoever asks bounds how many answers are waited for.
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let mut pool = Self { jobs: Some(jobs), threads: Vec::new() };
        for number in 0..threads.get() {
            let queue = Arc::clone(&queue);
            let thread = Builder::new().name(format!("compress-{number}")).spawn(move || {
                let Ok(mut squeezer) = Squeezer::new(plan) else { return };
                loop {
                    let job = match queue.lock() {
                        Ok(queue) => queue.recv(),
                        Err(_) => return,
                    };
                    let Ok((segment, follows, answer)) = job else { return };
                    // Nobody waits any more when writing failed.
                    let _ = answer.send(squeezer.squeeze(segment, follows));
                }
            })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Hands a segment to a thread.
    pub fn ask(&self, segment: Buffers, follows: Follows) -> io::Result<Answer> {
        let (sender, receiver) = sync_channel(1);
        let jobs = self.jobs.as_ref();
        let sent = jobs.is_some_and(|jobs| jobs.send((segment, follows, sender)).is_ok());
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
