//! The arguments of commands that use what was trained. No logic.

use std::path::PathBuf;

use clap::Args;
use lockstep_run::export::ExportFormat;
use lockstep_run::verify::Steps;

use super::JobFile;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lockstep evaluate runs/boston --data examples/boston/test.csv")]
pub(in crate::cli) struct Evaluate {
    /// The run folder; the run may be unfinished.
    pub(in crate::cli) run: PathBuf,
    /// A table with the run's feature and target columns, as they were before scaling, in CSV or NPY; or, with --labels, its
    /// features alone in NPY, or images in IDX.
    #[arg(long, short)]
    pub(in crate::cli) data: PathBuf,
    /// The targets of --data where they are a file of their own: in NPY, or the images' labels in IDX.
    #[arg(long)]
    pub(in crate::cli) labels: Option<PathBuf>,
    /// Where the result goes as JSON as well.
    #[arg(long, short)]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Replace the output file if it exists. Never a table or a file of the run folder.
    #[arg(long, requires = "output")]
    pub(in crate::cli) force: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lockstep predict runs/boston --data new.csv --output predictions.csv"
)]
pub(in crate::cli) struct Predict {
    /// The run folder; the run may be unfinished.
    pub(in crate::cli) run: PathBuf,
    /// A table with the run's feature columns, as they were before scaling, in any format of a job's tables; `-` for a CSV
    /// table on standard input.
    #[arg(long, short)]
    pub(in crate::cli) data: PathBuf,
    /// Where the predictions go, a row for each row, in the table's order: CSV, or what the name says (.tsv, .parquet, .npy,
    /// .csv.gz, .csv.zst); `-` for standard output, as CSV.
    #[arg(long, short, default_value = "-")]
    pub(in crate::cli) output: PathBuf,
    /// A column of the table that comes first in the predictions, as it is; any number of times, or several with commas
    /// between them.
    #[arg(long, short, value_name = "COLUMN")]
    pub(in crate::cli) keep: Vec<String>,
    /// Replace the output file if it exists. Never the table or a file of the run folder.
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lockstep import job.toml --weights pytorch.safetensors --out runs/imported"
)]
pub(in crate::cli) struct Import {
    #[command(flatten)]
    pub(in crate::cli) job: JobFile,
    /// The weights: a safetensors file of ours, of PyTorch's, or converted from Keras, a run folder or a checkpoint [default:
    /// the job's model.initial_weights].
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) weights: Option<PathBuf>,
    /// The run folder [default: runs/NAME].
    #[arg(long, short)]
    pub(in crate::cli) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lockstep export runs/boston --output boston.onnx")]
pub(in crate::cli) struct Export {
    /// The run folder; the run may be unfinished.
    pub(in crate::cli) run: PathBuf,
    /// What the model is written as.
    #[arg(long, short, value_enum, default_value_t)]
    pub(in crate::cli) format: ExportedAs,
    /// Where it goes; `-` for standard output [default: model.onnx, model.safetensors or model.json here].
    #[arg(long, short)]
    pub(in crate::cli) output: Option<PathBuf>,
    /// An ONNX graph that takes what the network gets of a row instead of a table's columns: scaled numbers as f32, and the
    /// places of embedded categories. For small runtimes.
    #[arg(long)]
    pub(in crate::cli) encoded: bool,
    /// Replace the output file if it exists. Never a file of the run folder.
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

/// What a model is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum ExportedAs {
    /// An ONNX graph, from the columns of a table to predictions.
    #[default]
    Onnx,
    /// The weights by name, with network and columns as metadata.
    Safetensors,
    /// Network, columns and weights in one text.
    Json,
}

impl From<ExportedAs> for ExportFormat {
    fn from(format: ExportedAs) -> ExportFormat {
        match format {
            ExportedAs::Onnx => ExportFormat::Onnx,
            ExportedAs::Safetensors => ExportFormat::Safetensors,
            ExportedAs::Json => ExportFormat::Json,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lockstep verify runs/boston --steps 3900..")]
pub(in crate::cli) struct Verify {
    /// The run folder. The tables that its job.toml names are read again; nothing is written.
    pub(in crate::cli) run: PathBuf,
    /// Which steps to replay: A..B, A.., ..B or N, from the newest checkpoint before A [default: all].
    #[arg(long, short, hide_default_value = true, default_value = "1..")]
    pub(in crate::cli) steps: Steps,
    /// Compute threads [default: all cores].
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(in crate::cli) threads: Option<u16>,
}
