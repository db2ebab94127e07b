//! The arguments of commands that look at runs, and where a page is. No logic.

use std::path::PathBuf;

use clap::Args;

use super::values::address;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep health --join-file runs/boston/join\n  lockstep health --join-file runs/boston/join 127.0.0.1:7070"
)]
pub(in crate::cli) struct Health {
    /// Where it listens, instead of where its join line says: HOST:PORT. Without a join line, on this machine only.
    pub(in crate::cli) address: Option<String>,
    /// A file with its join line, by which it is known; its secret is not told. Also read from LOCKSTEP_JOIN.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) join_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep status runs/boston --watch\n  lockstep status 127.0.0.1:8080 --json"
)]
pub(in crate::cli) struct Status {
    /// A run folder, or the address of a status page as its coordinator printed it [default: the newest run in runs].
    #[arg(value_name = "RUN|ADDRESS")]
    pub(in crate::cli) run: Option<String>,
    /// Show it again every second until the run is over.
    #[arg(long, short)]
    pub(in crate::cli) watch: bool,
    /// One JSON object, the one that the page shows; with --watch, one a line.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lockstep runs runs")]
pub(in crate::cli) struct Runs {
    /// The folder that the run folders are in.
    #[arg(value_name = "DIR", default_value = "runs")]
    pub(in crate::cli) folder: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lockstep report runs/boston --output boston.html")]
pub(in crate::cli) struct ReportFile {
    /// The run folder; the run may be unfinished. Of several the report compares them.
    #[arg(required = true, value_name = "RUN")]
    pub(in crate::cli) runs: Vec<PathBuf>,
    /// Where the report goes [default: report.html here]. A name that ends in .json gets what the report is made of, as JSON.
    #[arg(long, short)]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Shuffle each column of the test table (without one, the validation table), and say how much worse the first metric gets.
    #[arg(long, conflicts_with = "no_evaluation")]
    pub(in crate::cli) importance: bool,
    /// Leave out what takes the run's tables: how well its model does row by row.
    #[arg(long)]
    pub(in crate::cli) no_evaluation: bool,
    /// Replace the output file if it exists. Never a file of the run folder.
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Plot {
    /// The run folders, 8 at most; of one the values on the validation table are drawn as well.
    #[arg(required = true, value_name = "RUN")]
    pub(in crate::cli) runs: Vec<PathBuf>,
    /// The loss or metric: loss, mae, validation_loss and so on.
    #[arg(long, default_value = "loss")]
    pub(in crate::cli) metric: String,
    /// Where the picture goes: a name that ends in .svg or .png.
    #[arg(long, short)]
    pub(in crate::cli) output: PathBuf,
    /// Replace the output file if it exists. Never a file of a run folder.
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep tensorboard runs/boston\n  lockstep tensorboard runs/boston --follow & tensorboard --logdir tensorboard"
)]
pub(in crate::cli) struct TensorBoard {
    /// The run folder; the run may be unfinished.
    pub(in crate::cli) run: PathBuf,
    /// TensorBoard's folder: the run's events go into a folder of its name there.
    #[arg(long, value_name = "DIR", default_value = "tensorboard")]
    pub(in crate::cli) logdir: PathBuf,
    /// Go on until the run is over, with what it writes down meanwhile.
    #[arg(long, short)]
    pub(in crate::cli) follow: bool,
    /// How the weights lie as well, by tensor: those of the checkpoints that are kept, and of the model.
    #[arg(long)]
    pub(in crate::cli) histograms: bool,
    /// Replace the run's events if they are there.
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

/// Where the status page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Http {
    /// There.
    At(String),
    /// Nowhere.
    Off,
}

impl Http {
    /// The same at a port that is known by now.
    pub(in crate::cli) fn at_port(&self, port: Option<u16>) -> Http {
        match (self, port) {
            (Http::At(address), Some(port)) => {
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                Http::At(format!("{host}:{port}"))
            }
            _ => self.clone(),
        }
    }

    /// Where, if there is to be one.
    pub(in crate::cli) fn address(self) -> Option<String> {
        match self {
            Http::At(address) => Some(address),
            Http::Off => None,
        }
    }
}

impl std::fmt::Display for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Http::At(address) => address,
            Http::Off => "off",
        })
    }
}

pub(super) fn page(text: &str) -> Result<Http, String> {
    match text {
        "off" => Ok(Http::Off),
        text => address(text).map(Http::At).map_err(|wanted| format!("{wanted}, or off")),
    }
}
