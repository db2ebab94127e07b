//! Generates the wire types from `proto/lockstep.proto`, without an installed protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(["proto/lockstep.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    println!("cargo::rerun-if-changed=proto/lockstep.proto");
    Ok(())
}
