//! Asks a coordinator whether it is there and takes workers in, as whoever watches over it does. Joins nothing, and says no
//! secret.

use std::time::Duration;

use lockstep_net::Target;
use lockstep_proto::wire::cluster_server;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::WorkerError;
use crate::dial::{Dialed, Dialer};
use crate::lost::Lost;

/// Longest wait for an answer on a connection that was made.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Whether a coordinator is there and takes workers in.
///
/// # Errors
/// [`WorkerError::NoAnswer`] if not, or what is wrong with the target.
pub async fn health(target: &Target) -> Result<(), WorkerError> {
    let no_answer =
        |why: String| WorkerError::NoAnswer { address: target.addresses.join(", "), why };
    match ask(target).await {
        Ok(ServingStatus::Serving) => Ok(()),
        Ok(_) => Err(no_answer("it is there, but takes no workers in".to_string())),
        Err(WorkerError::Lost(lost)) => Err(no_answer(lost.to_string())),
        Err(error) => Err(error),
    }
}

async fn ask(target: &Target) -> Result<ServingStatus, WorkerError> {
    let Dialed { channel, watch, .. } = Dialer::new(target)?.dial().await?;
    let request = HealthCheckRequest { service: cluster_server::SERVICE_NAME.to_string() };
    let mut client = HealthClient::new(channel);
    let answer = tokio::time::timeout(ANSWER_WAIT_MAX, client.check(request));
    let lost = |lost: Lost| WorkerError::Lost(lost.explained(&watch));
    match answer.await {
        Ok(Ok(answer)) => Ok(answer.into_inner().status()),
        Ok(Err(status)) => Err(lost(Lost::of_status(&status))),
        Err(_) => Err(lost(Lost::NoAnswer(ANSWER_WAIT_MAX))),
    }
}
