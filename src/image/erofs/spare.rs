//! Memory for segments, and for what becomes of them.

use super::compress::Buffers;

/// Memory that is used again, lest each segment fetch its own from the kernel.
#[derive(Debug)]
pub struct Spare {
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    /// Bytes of a whole segment.
    segment: usize,
    /// How many segments are in use at a time.
    most: usize,
}

impl Spare {
    /// None yet: for segments of so many bytes, and so many at a time.
    pub fn new(segment: usize, most: usize) -> Self {
        Self { inputs: Vec::new(), outputs: Vec::new(), segment, most }
    }

    /// A buffer for a segment, with whatever is in it.
    pub fn input(&mut self) -> Vec<u8> {
        self.inputs.pop().unwrap_or_else(|| Vec::with_capacity(self.segment))
    }

    /// A segment, and a buffer for what becomes of it.
    pub fn with(&mut self, input: Vec<u8>) -> Buffers {
        // A short one must not take the place of a long one.
        let kept = if input.len() >= self.segment / 2 { self.outputs.pop() } else { None };
        Buffers { input, output: kept.unwrap_or_default() }
    }

    /// Keeps buffers that whole segments can use, and no more than are in use at a time.
    pub fn keep(&mut self, Buffers { input, output }: Buffers) {
        if input.capacity() >= self.segment && self.inputs.len() < self.most {
            self.inputs.push(input);
        }
        if output.capacity() >= self.segment / 4 && self.outputs.len() < self.most {
            self.outputs.push(output);
        }
    }

    /// Gives all of it back.
    pub fn release(&mut self) {
        (self.inputs, self.outputs) = (Vec::new(), Vec::new());
    }
}
