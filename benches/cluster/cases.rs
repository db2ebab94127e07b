//! What is measured: networks, batches, and a job with made-up rows for each. Starts nothing.

use std::fmt::Write as _;
use std::path::Path;

use lockstep_proto::ids::Span;
use lockstep_proto::tree::ShardTree;

use crate::Result;

/// Steps of an epoch: what is done once an epoch is not to count more than in real runs, and rows not to stay in cache.
pub(crate) const BATCHES: usize = 16;

/// The job's default.
const SHARDS: u32 = 16;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) widths: &'static [usize],
    pub(crate) batch: usize,
    /// Steps that are timed, and those before them that are not.
    pub(crate) steps: usize,
    /// Steps of each of the peer's repeats.
    pub(crate) peer_steps: usize,
}

const MNIST: &[usize] = &[784, 512, 512, 10];
const WIDE: &[usize] = &[784, 2048, 2048, 2048, 10];

pub(crate) const CASES: [Case; 4] = [
    Case { name: "boston 13-10-1", widths: &[13, 10, 1], batch: 10, steps: 4000, peer_steps: 400 },
    Case { name: "mnist 784-512-512-10", widths: MNIST, batch: 256, steps: 120, peer_steps: 60 },
    Case { name: "mnist 784-512-512-10", widths: MNIST, batch: 1024, steps: 60, peer_steps: 20 },
    Case { name: "wide 784-2048x3-10", widths: WIDE, batch: 1024, steps: 12, peer_steps: 4 },
];

impl Case {
    pub(crate) fn parameters(&self) -> usize {
        self.widths.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum()
    }

    /// Bytes that the coordinator and each worker may take, the program itself not counted: the tables and 8 values a
    /// parameter; its shards, what a pass keeps of its rows and 4 values a parameter.
    pub(crate) fn memory_limits(&self, workers: usize) -> [f64; 2] {
        let table = (self.batch * BATCHES * (self.widths[0] + 1)) as f64;
        let share = self.batch.div_ceil(workers);
        let widest = self.widths[1..].iter().max().copied().unwrap_or(0);
        let activations = share * (self.widths.iter().sum::<usize>() + 1 + 2 * widest);
        let parameters = self.parameters() as f64;
        let worker = table / workers as f64 + activations as f64 + 4.0 * parameters;
        [table + 8.0 * parameters, worker].map(|values| 4.0 * values)
    }

    /// Bytes that each process shares with others on its machine: two versions of the weights, or room for two gradients.
    pub(crate) fn own_shared_bytes(&self) -> u64 {
        2 * size_of::<f32>() as u64 * self.parameters() as u64
    }

    /// Bytes of gradients and weights that a step must move, headers not counted: every canonical node of every
    /// worker's span up, the weights down to each.
    pub(crate) fn layout_bytes(&self, workers: usize) -> f64 {
        let tree = ShardTree::new(SHARDS);
        let workers = workers.min(SHARDS as usize) as u32;
        let bound = |worker: u32| worker * SHARDS / workers;
        let nodes: usize = (0..workers)
            .map(|worker| tree.nodes(Span { start: bound(worker), end: bound(worker + 1) }).len())
            .sum();
        (4 * self.parameters() * (nodes + workers as usize)) as f64
    }

    /// Writes `job.toml` and its tables; their values do not matter to the time. Returns the steps it makes.
    pub(crate) fn write_job(&self, steps: usize, folder: &Path) -> Result<usize> {
        let (inputs, outputs) = (self.widths[0], self.widths[self.widths.len() - 1]);
        let rows = self.batch * BATCHES.min(steps);
        let pixel = |at: usize| (at / inputs * 31 + at % inputs * 17) as u8 % 97;
        let pixels: Vec<u8> = (0..rows * inputs).map(pixel).collect();
        let labels: Vec<u8> = (0..rows).map(|row| (row % outputs.max(2)) as u8).collect();
        std::fs::write(folder.join("images"), idx(&[rows, inputs], &pixels))?;
        std::fs::write(folder.join("labels"), idx(&[rows], &labels))?;

        let mut layers = String::new();
        for units in &self.widths[1..self.widths.len() - 1] {
            writeln!(layers, "  {{ type = \"dense\", units = {units}, activation = \"relu\" }},")?;
        }
        let (loss, activation) =
            if outputs == 1 { ("mse", "linear") } else { ("cross_entropy", "softmax") };
        writeln!(
            layers,
            "  {{ type = \"dense\", units = {outputs}, activation = \"{activation}\" }},"
        )?;
        let epochs = steps.div_ceil(BATCHES);
        let job = format!(
            "[data]\ntrain = {{ images = \"images\", labels = \"labels\" }}\nscale = {{ divide = 97 }}\n[model]\n\
             loss = \"{loss}\"\nlayers = [\n{layers}]\n[train]\noptimizer = \"adam\"\nepochs = {epochs}\n\
             batch_size = {}\nshards = {SHARDS}\n",
            self.batch
        );
        std::fs::write(folder.join("job.toml"), job)?;
        Ok(epochs * BATCHES.min(steps))
    }
}

/// An IDX file of bytes.
fn idx(dimensions: &[usize], values: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dimensions.len() as u8];
    dimensions.iter().for_each(|&dimension| file.extend((dimension as u32).to_be_bytes()));
    file.extend(values);
    file
}

/// Of sorted values.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 if middle > 0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted.get(middle).copied().unwrap_or(f64::NAN),
    }
}
