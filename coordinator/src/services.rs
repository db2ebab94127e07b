//! What is served at the coordinator's address: the run's service and, beside it, gRPC's own health service
//! (`grpc.health.v1`), for whoever watches over the process, and on loopback reflection (`grpc.reflection`), for whoever asks by hand.
//!
//! Health takes no secret and tells nothing of the run: that the server is there and takes workers in, and no more. Reflection tells
//! what is in `lockstep.proto`; on other addresses than loopback it is not there, as nobody needs it to take part.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use lockstep_proto::DESCRIPTORS;
use lockstep_proto::wire::cluster_server::{Cluster, ClusterServer};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::server::Builder;

/// The services. They are told apart by the paths of their calls; tonic's router would bring a web framework with it.
pub(crate) struct Services<C> {
    cluster: ClusterServer<C>,
    health: HealthServer<HealthService>,
    reflection: Option<Reflection>,
}

/// What every name of a reflection service's methods begins with.
const REFLECTION: &str = "/grpc.reflection.";

type Answer = BoxFuture<http::Response<Body>, Infallible>;

/// Both versions of the reflection service, whose types have no names.
type Reflection = Arc<dyn Fn(http::Request<Body>) -> Answer + Send + Sync>;

fn reflection() -> Result<Reflection, String> {
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let described = |error: tonic_reflection::server::Error| error.to_string();
    let newest = builder().build_v1().map_err(described)?;
    let earlier = builder().build_v1alpha().map_err(described)?;
    Ok(Arc::new(move |request| match request.uri().path().starts_with("/grpc.reflection.v1.") {
        true => newest.clone().call(request),
        false => earlier.clone().call(request),
    }))
}

impl<C: Cluster> Services<C> {
    /// From now on the run's service, and with it the server, is healthy.
    ///
    /// # Errors
    /// If they cannot be described, which is a mistake in this program.
    pub(crate) async fn new(
        cluster: ClusterServer<C>,
        is_loopback: bool,
    ) -> Result<Services<C>, String> {
        let reporter = HealthReporter::new();
        reporter.set_serving::<ClusterServer<C>>().await;
        let health = HealthServer::new(HealthService::from_health_reporter(reporter));
        let reflection = is_loopback.then(reflection).transpose()?;
        Ok(Services { cluster, health, reflection })
    }
}

impl<C> Clone for Services<C> {
    fn clone(&self) -> Self {
        let Services { cluster, health, reflection } = self;
        let (cluster, health) = (cluster.clone(), health.clone());
        Services { cluster, health, reflection: reflection.clone() }
    }
}

impl<C: Cluster> Service<http::Request<Body>> for Services<C> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    /// All are always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match (request.uri().path(), &self.reflection) {
            (path, _) if path.starts_with("/grpc.health.v1.Health/") => self.health.call(request),
            (path, Some(reflection)) if path.starts_with(REFLECTION) => reflection(request),
            _ => self.cluster.call(request),
        }
    }
}
