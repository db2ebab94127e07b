//! What is served at the coordinator's address: the run's service and, beside it, gRPC's own health service
//! (`grpc.health.v1`), for whoever watches over the process.
//!
//! Health takes no secret and tells nothing of the run: that the server is there and takes workers in, and no more.

use std::convert::Infallible;
use std::task::{Context, Poll};

use lockstep_proto::wire::cluster_server::{Cluster, ClusterServer};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// Both services. They are told apart by the paths of their calls; tonic's router would bring a web framework with it.
pub(crate) struct Services<C> {
    cluster: ClusterServer<C>,
    health: HealthServer<HealthService>,
}

impl<C: Cluster> Services<C> {
    /// From now on the run's service, and with it the server, is healthy.
    pub(crate) async fn new(cluster: ClusterServer<C>) -> Services<C> {
        let reporter = HealthReporter::new();
        reporter.set_serving::<ClusterServer<C>>().await;
        let health = HealthServer::new(HealthService::from_health_reporter(reporter));
        Services { cluster, health }
    }
}

impl<C> Clone for Services<C> {
    fn clone(&self) -> Self {
        Services { cluster: self.cluster.clone(), health: self.health.clone() }
    }
}

impl<C: Cluster> Service<http::Request<Body>> for Services<C> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    /// Both are always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path().starts_with("/grpc.health.v1.Health/") {
            true => self.health.call(request),
            false => self.cluster.call(request),
        }
    }
}
