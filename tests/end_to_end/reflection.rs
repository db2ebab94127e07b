//! What gRPC's reflection says, asked by its own client, and that it is for this machine alone.

use std::process::Command;

use serde_json::Value;

use crate::faults::folder;
use crate::process::Process;
use crate::tools::{python, skip};

/// Prints the services, what one of them has, and how healthy it is, or why nothing is reflected.
const ASK: &str = r#"
import grpc, json, sys
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
channel = grpc.insecure_channel(sys.argv[1])
health = health_pb2_grpc.HealthStub(channel)
name = "lockstep.v1.Cluster"
found = {"healthy": health.Check(health_pb2.HealthCheckRequest(service=name), timeout=60).status == 1}
try:
    reflection = ProtoReflectionDescriptorDatabase(channel)
    found["services"] = sorted(reflection.get_services())
    file = reflection.FindFileContainingSymbol(name)
    found["methods"] = sorted(method.name for method in file.service[0].method)
except grpc.RpcError as error:
    found["refused"] = error.code().name
print(json.dumps(found))
"#;

fn ask(python: &str, address: &str) -> Value {
    let asked = Command::new(python).args(["-c", ASK, address]).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    serde_json::from_slice(&asked.stdout).unwrap()
}

#[test]
fn on_loopback_the_services_are_described_and_elsewhere_they_are_not() {
    let Some(python) = python("grpc_reflection, grpc_health") else {
        return skip("a Python with grpcio-reflection and grpcio-health-checking");
    };
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let found = ask(&python, &coordinator.address());
    assert_eq!(found["healthy"], true);
    let services: Vec<&str> =
        found["services"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for service in ["grpc.health.v1.Health", "lockstep.v1.Cluster"] {
        assert!(services.contains(&service), "no {service} in {services:?}");
    }
    assert!(found["methods"].as_array().unwrap().contains(&"Train".into()), "{found}");
    let open = ["--log-format", "json", "coordinator", "job.toml", "--out", "open", "--insecure"];
    let open: Process = folder.start(&[&open[..], &["--listen", "0.0.0.0:0"]].concat());
    let port = open.address().rsplit_once(':').unwrap().1.to_string();
    let found = ask(&python, &format!("127.0.0.1:{port}"));
    assert_eq!((&found["healthy"], &found["refused"]), (&true.into(), &"UNIMPLEMENTED".into()));
}
