//! Generates the types of ONNX files from `proto/onnx.proto`, ONNX's own description of them, without an installed protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(["proto/onnx.proto"], ["proto"])?;
    // Its comments are no Rust documentation: what is indented there would be compiled as examples.
    prost_build::Config::new().disable_comments(["."]).compile_fds(descriptors)?;
    println!("cargo::rerun-if-changed=proto/onnx.proto");
    Ok(())
}
