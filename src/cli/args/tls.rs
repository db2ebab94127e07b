//! Certificates of somebody's own authority, on either side. No logic.

use std::path::PathBuf;

use clap::Args;

/// What a coordinator takes.
#[derive(Debug, Args)]
pub(in crate::cli) struct CoordinatorTls {
    /// A certificate of your own authority, by which workers know this coordinator instead of the join line's key: PEM, with
    /// those between it and the authority after it. Workers give --tls-ca.
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "insecure")]
    pub(in crate::cli) tls_cert: Option<PathBuf>,
    /// The certificate's private key: PEM, without a passphrase.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(in crate::cli) tls_key: Option<PathBuf>,
    /// The authority whose certificates let workers in, instead of the join line's secret: PEM. Whoever has such a certificate
    /// can read the training table.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(in crate::cli) tls_client_ca: Option<PathBuf>,
}

/// What a worker takes.
#[derive(Debug, Args)]
pub(in crate::cli) struct WorkerTls {
    /// The authority of a coordinator that was started with --tls-cert: PEM. Its certificate has to be for the name or the
    /// address that is dialed.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(in crate::cli) tls_ca: Option<PathBuf>,
    /// This worker's certificate, where the coordinator was started with --tls-client-ca: PEM.
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    pub(in crate::cli) tls_cert: Option<PathBuf>,
    /// The certificate's private key: PEM, without a passphrase.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(in crate::cli) tls_key: Option<PathBuf>,
}
