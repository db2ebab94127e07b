//! The gradient sum of a node on its way up the tree: a frame as it came, a sum, or two of these that are to be added when
//! they are read.
//!
//! The root's two children are added block by block with all that follows, while a block is in the nearest cache. Knows
//! neither weights nor steps.

use bytes::Bytes;
use lockstep_proto::values::Precision;

use crate::fold::Addend;

/// A node's values in one chunk.
#[derive(Debug)]
pub struct NodeValues {
    precision: Precision,
    content: Content,
    /// At the root: what is still to be added.
    last: Option<Content>,
}

#[derive(Debug)]
enum Content {
    Frame(Bytes),
    Sum(Vec<f32>),
}

impl NodeValues {
    /// Values as they came: a frame that was checked.
    pub fn new(precision: Precision, frame: Bytes) -> NodeValues {
        NodeValues { precision, content: Content::Frame(frame), last: None }
    }

    /// All values as a frame, of which there are so many; that they can all be held in one is for the caller to check.
    pub fn frame(&self, len: usize) -> Bytes {
        if let (Content::Frame(frame), None) = (&self.content, &self.last) {
            return frame.clone();
        }
        let mut values = vec![0.0; len];
        self.read(0, &mut values);
        self.precision.encode(&values)
    }

    /// Copies the values from place `start` on.
    #[inline(always)]
    pub fn read(&self, start: usize, out: &mut [f32]) {
        let (width, places) = (self.precision.width(), start..start + out.len());
        let bytes = places.start * width..places.end * width;
        match &self.content {
            Content::Frame(frame) => self.precision.copy(&frame[bytes.clone()], out),
            Content::Sum(sum) => out.copy_from_slice(&sum[places.clone()]),
        }
        match &self.last {
            Some(Content::Frame(frame)) => self.precision.merge_frame(&frame[bytes], out),
            Some(Content::Sum(sum)) => self.precision.merge(&sum[places], out),
            None => {}
        }
    }
}

impl Addend for NodeValues {
    fn merge(self, other: Self) -> Self {
        let precision = self.precision;
        let (mut sum, other) = match (self.content, other.content) {
            (Content::Sum(sum), other) | (other, Content::Sum(sum)) => (sum, other),
            (Content::Frame(frame), other) => {
                let mut sum = vec![0.0; frame.len() / precision.width()];
                precision.copy(&frame, &mut sum);
                (sum, other)
            }
        };
        match other {
            Content::Frame(frame) => precision.merge_frame(&frame, &mut sum),
            Content::Sum(other) => precision.merge(&other, &mut sum),
        }
        NodeValues { precision, content: Content::Sum(sum), last: None }
    }

    fn merge_last(self, other: Self) -> Self {
        NodeValues { last: Some(other.content), ..self }
    }
}
